import { connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import type { INestApplication, ModuleMetadata } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';

export type Platform = 'express' | 'fastify';

/** For `describe.each(platforms)('%s', (platform) => …)`. */
export const platforms: readonly Platform[] = ['express', 'fastify'];

export interface TestApp {
  readonly app: INestApplication;
  readonly port: number;
  close(): Promise<void>;
}

export interface AppOptions {
  /** Runs before the application starts: global interceptors, middleware, CORS. */
  readonly configure?: (app: INestApplication) => void | Promise<void>;
  readonly bodyParser?: boolean;
  readonly rawBody?: boolean;
}

/** Starts an application on a free port of 127.0.0.1. */
export async function startApp(
  platform: Platform,
  metadata: ModuleMetadata,
  { configure, ...options }: AppOptions = {},
): Promise<TestApp> {
  const module = await Test.createTestingModule(metadata).compile();
  const adapter = platform === 'express' ? new ExpressAdapter() : new FastifyAdapter();
  const app = module.createNestApplication(adapter, { logger: false, ...options });
  await configure?.(app);
  await app.listen(0, '127.0.0.1');
  const server = app.getHttpServer() as Server;
  return { app, port: (server.address() as AddressInfo).port, close: () => app.close() };
}

export interface RawRequest {
  /** @default 'POST' */
  readonly method?: string;
  readonly path: string;
  /** Sent as the `Idempotency-Key` header. */
  readonly key?: string;
  /** Header lines as they go out, in order and repeated as given. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** Bytes and strings go out as they are; everything else as JSON. */
  readonly body?: unknown;
}

/** One answer as it came over the socket. */
export interface RawResponse {
  readonly statusLine: string;
  readonly status: number;
  /** Every header line, in order. */
  readonly rawHeaders: readonly (readonly [name: string, value: string])[];
  /** Without its chunked framing. */
  readonly body: Buffer;
  /** The body was cut: fewer bytes than announced. */
  readonly truncated: boolean;
  readonly text: string;
  /** The values of one header; lines that came twice are joined with `, `. */
  header(name: string): string | undefined;
  json<T = unknown>(): T;
}

const LAST_CHUNK = '0\r\n\r\n';

export interface OpenRequest {
  readonly socket: Socket;
  /** Resolves with the first byte of the answer. */
  readonly firstByte: Promise<void>;
  /** Rejects when the connection ends before a complete head. */
  readonly response: Promise<RawResponse>;
}

/** Sends one request on a connection of its own and waits for the whole answer. */
export function send(target: { readonly port: number }, request: RawRequest): Promise<RawResponse> {
  return open(target, request).response;
}

/** Sends one request and leaves the connection to the test: to hang up, or to read slowly. */
export function open({ port }: { readonly port: number }, request: RawRequest): OpenRequest {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(requestBytes(request));
  const received: Buffer[] = [];
  const firstByte = new Promise<void>((resolve) => socket.once('data', () => resolve()));
  const response = new Promise<RawResponse>((resolve, reject) => {
    let tail = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received.push(chunk);
      tail = Buffer.concat([tail, chunk.subarray(-5)]).subarray(-5);
      // Nest keeps the connection of server-sent events alive, whatever was asked for
      if (tail.toString('latin1') === LAST_CHUNK) {
        socket.end();
      }
    });
    // what was sent before a reset still counts; a reset before the head rejects below
    socket.on('error', () => undefined);
    socket.on('close', () => {
      try {
        resolve(parseResponse(Buffer.concat(received), request.method === 'HEAD'));
      } catch (error) {
        reject(error as Error);
      }
    });
  });
  // a test that hangs up does not look at it
  response.catch(() => undefined);
  return { socket, firstByte, response };
}

function requestBytes({ method = 'POST', path, key, headers = [], body }: RawRequest): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Connection: close'];
  const isRaw = typeof body === 'string' || body instanceof Uint8Array;
  const named = new Set(headers.map(([name]) => name.toLowerCase()));
  if (key !== undefined) {
    lines.push(`Idempotency-Key: ${key}`);
  }
  if (body !== undefined && !isRaw && !named.has('content-type')) {
    lines.push('Content-Type: application/json');
  }
  const bytes =
    body === undefined ? Buffer.alloc(0) : Buffer.from(isRaw ? body : JSON.stringify(body));
  if (!named.has('content-length') && (body !== undefined || method !== 'GET')) {
    lines.push(`Content-Length: ${bytes.length}`);
  }
  lines.push(...headers.map(([name, value]) => `${name}: ${value}`));
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

function parseResponse(bytes: Buffer, isHead: boolean): RawResponse {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) {
    throw new Error(`The connection ended before a response: ${bytes.length} bytes came.`);
  }
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const rawHeaders = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  const header = (name: string): string | undefined => {
    const values = rawHeaders
      .filter(([other]) => other.toLowerCase() === name.toLowerCase())
      .map(([, value]) => value);
    return values.length === 0 ? undefined : values.join(', ');
  };
  const rest = bytes.subarray(end + 4);
  const length = header('content-length');
  const { body, whole } =
    header('transfer-encoding') === 'chunked'
      ? dechunk(rest)
      : { body: rest, whole: isHead || length === undefined || Number(length) === rest.length };
  return {
    statusLine,
    status: Number(statusLine.split(' ')[1]),
    rawHeaders,
    body,
    truncated: !whole,
    text: body.toString(),
    header,
    json: <T>() => JSON.parse(body.toString()) as T,
  };
}

function dechunk(bytes: Buffer): { body: Buffer; whole: boolean } {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = lineEnd === -1 ? NaN : parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (Number.isNaN(size) || size === 0 || lineEnd + 2 + size > bytes.length) {
      return { body: Buffer.concat(chunks), whole: size === 0 };
    }
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

/** Waits until `condition` holds; fails with `what` after `timeoutMs`. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 5_000,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  for (let pauseMs = 5; !(await condition()); pauseMs = Math.min(50, pauseMs * 1.3)) {
    if (performance.now() > giveUpAt) {
      throw new Error(`Waited ${timeoutMs} ms in vain: ${what}`);
    }
    // what takes long is not asked all the time: others need the processor
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** As a client would: sends a request again until there is an outcome. */
export async function untilDone(order: () => Promise<RawResponse>): Promise<RawResponse> {
  let answer: RawResponse | undefined;
  await eventually(
    async () => {
      answer = await order();
      return answer.status !== 409;
    },
    'an answer other than 409',
    10_000,
  );
  return answer as RawResponse;
}
