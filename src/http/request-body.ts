import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { IdempotencyError } from '../engine/errors.js';
import type { HttpExchange } from './http-exchange.js';

interface UploadedFile {
  readonly fieldname?: string;
  readonly originalname?: string;
  readonly mimetype?: string;
  readonly buffer?: Uint8Array;
  readonly path?: string;
}

/**
 * The body that a fingerprint counts: as parsed, or its bytes; for multipart the fields and a digest of
 * each file.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when there is a body that nothing has read yet:
 *   two different requests would look alike.
 */
export async function requestBody(exchange: HttpExchange): Promise<unknown> {
  const { request, rawRequest } = exchange;
  const files = uploadedFiles(request.file, request.files);
  if (files.length > 0) {
    return { fields: request.body, files: await Promise.all(files.map(describeFile)) };
  }
  if (request.body !== undefined && !isEmptyStandIn(request.body, exchange)) {
    return withoutParts(request.body);
  }
  if (request.rawBody instanceof Uint8Array) {
    return request.rawBody;
  }
  if (hasBody(rawRequest.headers) && !rawRequest.readableEnded) {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      'The body of this request is not parsed before the handler runs, so that two different requests ' +
        'could not be told apart. Parse it earlier (a body parser for its content type; for uploads an ' +
        'interceptor such as FileInterceptor, or attachFieldsToBody on Fastify), or give @Idempotent() a ' +
        '`fingerprint` that does not need the body.',
    );
  }
  return request.body;
}

/** Some parsers leave `{}` where they did not read a body of another content type. */
function isEmptyStandIn(body: unknown, { rawRequest }: HttpExchange): boolean {
  return (
    typeof body === 'object' &&
    body !== null &&
    Object.keys(body).length === 0 &&
    !rawRequest.readableEnded
  );
}

function hasBody(headers: Readonly<Record<string, unknown>>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Multer's three forms: one file, a list, or lists by field. */
function uploadedFiles(file: unknown, files: unknown): UploadedFile[] {
  const found = [file, ...(Array.isArray(files) ? files : Object.values(files ?? {}).flat())];
  return found.filter(
    (entry): entry is UploadedFile =>
      entry !== null && typeof entry === 'object' && ('buffer' in entry || 'path' in entry),
  );
}

async function describeFile(file: UploadedFile): Promise<unknown> {
  const hash = createHash('sha256');
  if (file.buffer !== undefined) {
    hash.update(file.buffer);
  } else if (file.path !== undefined) {
    for await (const chunk of createReadStream(file.path)) {
      hash.update(chunk as Buffer);
    }
  }
  return [file.fieldname, file.originalname, file.mimetype, hash.digest('base64')];
}

/** `@fastify/multipart` with `attachFieldsToBody`: every part knows all the others, in a circle. */
interface FastifyPart {
  readonly fieldname: string;
  readonly fields: unknown;
  readonly value?: unknown;
  readonly filename?: string;
  readonly mimetype?: string;
  readonly toBuffer?: () => Promise<Uint8Array>;
}

async function withoutParts(body: unknown): Promise<unknown> {
  if (body === null || typeof body !== 'object' || !Object.values(body).flat().some(isPart)) {
    return body;
  }
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    fields[name] = Array.isArray(value)
      ? await Promise.all(value.map(describePart))
      : await describePart(value);
  }
  return fields;
}

function isPart(value: unknown): value is FastifyPart {
  return value !== null && typeof value === 'object' && 'fieldname' in value && 'fields' in value;
}

async function describePart(part: unknown): Promise<unknown> {
  if (!isPart(part)) {
    return part;
  }
  return part.toBuffer === undefined
    ? part.value
    : [part.filename, part.mimetype, await part.toBuffer()];
}
