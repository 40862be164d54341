import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { KeptPipes } from './kept-pipes.js';
import type { WireResponse } from './recorded-response.js';
import { bodyArguments, headArguments, type Callback } from './response-arguments.js';

/** Why the hold has something to settle: the response is complete, or too large or endless to wait for. */
export type HoldEvent = 'ended' | 'overflow';

const METHODS = ['writeHead', 'write', 'end', 'flushHeaders'] as const;
const GETTERS = ['headersSent', 'writableEnded', 'finished'] as const;
/** Removed before a recorded response takes the place of another one. */
const REPRESENTATION = [
  'content-type',
  'content-length',
  'content-encoding',
  'content-disposition',
  'content-language',
  'content-range',
  'etag',
  'last-modified',
  'location',
  'trailer',
  'transfer-encoding',
];

/**
 * Holds Node's response while everything above it (handler, interceptors, serializers, filters,
 * streams, the adapter) writes as usual. Nothing reaches the client until the outcome of the request
 * is durable; then exactly what was written goes out, or a recorded response in its place.
 *
 * The wire is the one place where every way to answer meets, as bytes. Middleware that wrapped the
 * response earlier (compression, sessions) stays beneath the hold and does its work when it is let go.
 */
export class HeldResponse {
  private static readonly held = new WeakSet<ServerResponse>();

  /** Resolves once, when there is something to settle. */
  readonly event: Promise<HoldEvent>;
  private resolveEvent!: (event: HoldEvent) => void;
  private readonly before = new Map<string, PropertyDescriptor | undefined>();
  private readonly chunks: Buffer[] = [];
  private readonly callbacks: Callback[] = [];
  private readonly pipes: KeptPipes;
  private bodySize = 0;
  private head: { status: number; message: string; headers: WireResponse['headers'] } | undefined;
  private isEnded = false;
  private isLetGo = false;
  private overflowed = false;

  static isHeld(response: ServerResponse): boolean {
    return HeldResponse.held.has(response);
  }

  constructor(
    private readonly response: ServerResponse,
    private readonly maxBytes: number,
  ) {
    this.pipes = new KeptPipes(response);
    HeldResponse.held.add(response);
    this.event = new Promise((resolve) => {
      this.resolveEvent = resolve;
    });
    for (const name of [...METHODS, ...GETTERS]) {
      this.before.set(name, Object.getOwnPropertyDescriptor(response, name));
    }
    this.override('writeHead', (args) => this.writeHead(args));
    this.override('write', (args) => this.write(args));
    this.override('end', (args) => this.end(args));
    this.override('flushHeaders', () => this.commit());
    this.pretend('headersSent', () => this.head !== undefined);
    this.pretend('writableEnded', () => this.isEnded);
    this.pretend('finished', () => this.isEnded);
  }

  get released(): boolean {
    return this.isLetGo;
  }

  /** Bytes of the body written so far. */
  get size(): number {
    return this.bodySize;
  }

  /** What is streamed from here is wanted even when the client is gone. */
  keep(source: Readable): void {
    if (!this.isLetGo) {
      this.pipes.keep(source);
    }
  }

  /** What was written so far, as it would have gone out. */
  get captured(): WireResponse {
    const { status, headers } = this.head ?? this.currentHead();
    return { status, headers, body: Buffer.concat(this.chunks) };
  }

  /** Lets everything written so far, and everything to come, reach the client. */
  release(extraHeaders: Readonly<Record<string, string>> = {}): void {
    if (!this.letGo()) {
      return;
    }
    const { response, head } = this;
    if (head !== undefined) {
      response.statusCode = head.status;
      response.statusMessage = head.message;
      this.restoreHeaders(head.headers);
    }
    for (const [name, value] of Object.entries(extraHeaders)) {
      response.setHeader(name, value);
    }
    const body = Buffer.concat(this.chunks);
    if (this.isEnded) {
      this.finish(body);
    } else if (head !== undefined) {
      if (body.length > 0) {
        response.write(body);
      } else {
        response.flushHeaders();
      }
      response.emit('drain');
    }
  }

  /** Sends another response instead of what was written. What is written from now on is dropped. */
  replace(other: WireResponse, extraHeaders: Readonly<Record<string, string>>): void {
    if (!this.letGo()) {
      return;
    }
    const { response } = this;
    for (const name of REPRESENTATION) {
      response.removeHeader(name);
    }
    response.statusCode = other.status;
    response.statusMessage = '';
    for (const [name, value] of Object.entries({ ...other.headers, ...extraHeaders })) {
      response.setHeader(name, value);
    }
    const isBodiless = other.status === 204 || other.status === 304;
    // the record of a HEAD request holds no body, and so not the length that it stands for
    if (!isBodiless && response.req.method !== 'HEAD') {
      response.setHeader('content-length', other.body.length);
    }
    this.finish(isBodiless ? Buffer.alloc(0) : other.body);
    // a handler that still streams would otherwise write after the end
    this.override('write', () => true);
    this.override('end', () => response);
  }

  private letGo(): boolean {
    if (this.isLetGo) {
      return false;
    }
    this.isLetGo = true;
    this.pipes.stop();
    for (const [name, descriptor] of this.before) {
      if (descriptor === undefined) {
        delete (this.response as unknown as Record<string, unknown>)[name];
      } else {
        Object.defineProperty(this.response, name, descriptor);
      }
    }
    return true;
  }

  private finish(body: Buffer): void {
    const done = (): void => this.callbacks.splice(0).forEach((callback) => callback());
    if (body.length > 0) {
      this.response.end(body, done);
    } else {
      this.response.end(done);
    }
  }

  private writeHead(args: unknown[]): ServerResponse {
    const { status, message, headers } = headArguments(args);
    this.response.statusCode = status;
    if (message !== undefined) {
      this.response.statusMessage = message;
    }
    for (const [name, value] of headers) {
      this.response.setHeader(name, value);
    }
    this.commit();
    return this.response;
  }

  private write(args: unknown[]): boolean {
    const { chunk, encoding, callback } = bodyArguments(args);
    this.commit();
    this.collect(chunk, encoding);
    if (callback !== undefined) {
      process.nextTick(callback);
    }
    return !this.overflowed;
  }

  private end(args: unknown[]): ServerResponse {
    if (this.isEnded) {
      return this.response;
    }
    const { chunk, encoding, callback } = bodyArguments(args);
    this.commit();
    this.collect(chunk, encoding);
    if (callback !== undefined) {
      this.callbacks.push(callback);
    }
    this.isEnded = true;
    this.resolveEvent('ended');
    return this.response;
  }

  /** From here on the head is what it is, as if it had been sent. */
  private commit(): void {
    if (this.head !== undefined) {
      return;
    }
    this.head = this.currentHead();
    if (String(this.head.headers['content-type'] ?? '').startsWith('text/event-stream')) {
      this.overflow();
    }
  }

  private collect(chunk: unknown, encoding: BufferEncoding | undefined): void {
    if (chunk === null || chunk === undefined || this.isEnded) {
      return;
    }
    const bytes =
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk as Uint8Array);
    this.chunks.push(bytes);
    this.bodySize += bytes.length;
    if (this.bodySize > this.maxBytes) {
      this.overflow();
    }
  }

  private overflow(): void {
    this.overflowed = true;
    this.resolveEvent('overflow');
  }

  private currentHead(): NonNullable<typeof this.head> {
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(this.response.getHeaders())) {
      if (value !== undefined) {
        headers[name] = Array.isArray(value) ? [...value] : String(value);
      }
    }
    return {
      status: this.response.statusCode,
      message: this.response.statusMessage,
      headers,
    };
  }

  /** Undoes what was set after the head counted as sent. */
  private restoreHeaders(headers: WireResponse['headers']): void {
    for (const name of this.response.getHeaderNames()) {
      if (headers[name] === undefined) {
        this.response.removeHeader(name);
      }
    }
    for (const [name, value] of Object.entries(headers)) {
      if (String(this.response.getHeader(name)) !== String(value)) {
        this.response.setHeader(name, value);
      }
    }
  }

  /** A wrapper that was put around it while held may still call it later: then it means the real one. */
  private override(name: (typeof METHODS)[number], held: (args: unknown[]) => unknown): void {
    const value = (...args: unknown[]): unknown => {
      const current = this.response[name] as (...args: unknown[]) => unknown;
      return this.isLetGo && current !== value
        ? Reflect.apply(current, this.response, args)
        : held(args);
    };
    Object.defineProperty(this.response, name, { value, configurable: true, writable: true });
  }

  private pretend(name: (typeof GETTERS)[number], get: () => boolean): void {
    Object.defineProperty(this.response, name, { get, set: () => undefined, configurable: true });
  }
}
