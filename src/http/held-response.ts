import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { KeptPipes } from './kept-pipes.js';
import type { WireResponse } from './recorded-response.js';
import { bodyArguments, headArguments, type Callback } from './response-arguments.js';
import {
  headOf,
  isBodiless,
  replaceHead,
  restoreHead,
  setHeaders,
  type ResponseHead,
} from './response-head.js';

/** Why the hold has something to settle: the response is complete, or too large or endless to wait for. */
export type HoldEvent = 'ended' | 'overflow';

const METHODS = ['writeHead', 'write', 'end', 'flushHeaders'] as const;
const GETTERS = ['headersSent', 'writableEnded', 'finished'] as const;

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
  private head: ResponseHead | undefined;
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

  /** Whether the whole response has been written. */
  get ended(): boolean {
    return this.isEnded;
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
    const { status, headers, names } = this.head ?? headOf(this.response);
    return { status, headers, names, body: Buffer.concat(this.chunks) };
  }

  /** Lets everything written so far, and everything to come, reach the client. */
  release(extraHeaders: Readonly<Record<string, string>> = {}): void {
    if (!this.letGo()) {
      return;
    }
    const { response, head } = this;
    if (head !== undefined) {
      restoreHead(response, head);
    }
    setHeaders(response, extraHeaders);
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
    replaceHead(response, other);
    setHeaders(response, extraHeaders);
    this.finish(isBodiless(other.status) ? Buffer.alloc(0) : other.body);
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
    this.head = headOf(this.response);
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
    Object.defineProperty(this.response, name, { get, set: () => {}, configurable: true });
  }
}
