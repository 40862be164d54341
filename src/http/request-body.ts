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
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when there is a body, or a file, whose content is
 *   not at hand: two different requests would look alike.
 */
export async function requestBody(exchange: HttpExchange): Promise<unknown> {
  const unknown = contentNotAtHand(exchange);
  if (unknown !== undefined) {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      `${unknown}, or give @Idempotent() a \`fingerprint\` that does not need the body.`,
    );
  }
  return bodyAtHand(exchange);
}

/** The same without what is not at hand. */
export async function bodyAtHand(exchange: HttpExchange): Promise<unknown> {
  const { request } = exchange;
  const files = uploadedFiles(request.file, request.files);
  if (files.length > 0) {
    return { fields: request.body, files: await Promise.all(files.map(describeFile)) };
  }
  if (isParsed(exchange)) {
    return withoutParts(request.body);
  }
  return request.rawBody instanceof Uint8Array ? request.rawBody : request.body;
}

function contentNotAtHand(exchange: HttpExchange): string | undefined {
  const { request, rawRequest } = exchange;
  const files = uploadedFiles(request.file, request.files);
  if (files.some(({ buffer, path }) => buffer === undefined && path === undefined)) {
    return (
      'The content of an uploaded file is neither in memory nor on disk, so that two different files ' +
      'could not be told apart. Use memory or disk storage for uploads'
    );
  }
  if (files.length > 0 || isParsed(exchange) || request.rawBody instanceof Uint8Array) {
    return undefined;
  }
  return hasBody(rawRequest.headers) && !rawRequest.readableEnded
    ? 'The body of this request is not parsed before the handler runs, so that two different requests ' +
        'could not be told apart. Parse it earlier (a body parser for its content type; for uploads an ' +
        'interceptor such as FileInterceptor, or attachFieldsToBody on Fastify)'
    : undefined;
}

function isParsed(exchange: HttpExchange): boolean {
  const { body } = exchange.request;
  return body !== undefined && !isEmptyStandIn(body, exchange);
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
    // on Fastify `file` and `files` are methods until an upload interceptor puts its files in their place
    (entry): entry is UploadedFile => entry !== null && typeof entry === 'object',
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
