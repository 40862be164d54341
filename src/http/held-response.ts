import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { holdMethods, methodsOf, type HeldMethod, type Holder } from './held-methods.js';
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

/**
 * Holds Node's response while everything above it (handler, interceptors, serializers, filters,
 * streams, the adapter) writes as usual. Nothing reaches the client until the outcome of the request
 * is durable; then exactly what was written goes out, or a recorded response in its place.
 *
 * The wire is the one place where every way to answer meets, as bytes. Middleware that wrapped the
 * response earlier (compression, sessions) stays beneath the hold and does its work when it is let go.
 */
export class HeldResponse implements Holder {
  /** Resolves once, when there is something to settle. */
  readonly event: Promise<HoldEvent>;
  readonly below: Holder['below'];
  private resolveEvent!: (event: HoldEvent) => void;
  private readonly chunks: Buffer[] = [];
  private readonly callbacks: Callback[] = [];
  private readonly pipes: KeptPipes;
  private bodySize = 0;
  private head: ResponseHead | undefined;
  private isEnded = false;
  private isReplaced = false;
  private isLetGo = false;
  private overflowed = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly maxBytes: number,
    /** Whether a response that has grown too large waits to be let go, or has its handler go on. */
    private readonly waitsWhenFull = true,
  ) {
    this.event = new Promise((resolve) => {
      this.resolveEvent = resolve;
    });
    this.pipes = new KeptPipes(response);
    this.below = methodsOf(response);
    holdMethods(response, this);
  }

  get isHolding(): boolean {
    return !this.isLetGo;
  }

  /** After another response took its place, what is still written goes nowhere: it would come after the end. */
  holds(name: HeldMethod): boolean {
    return !this.isLetGo || (this.isReplaced && (name === 'write' || name === 'end'));
  }

  get looksSent(): boolean {
    return this.head !== undefined;
  }

  /** Whether the response is on its way to the client. */
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

  /** Whether a stream that was to go on without its client has not come to its end. */
  get isStreaming(): boolean {
    return this.pipes.isStreaming;
  }

  /** What was written so far, as it would have gone out. */
  get captured(): WireResponse {
    const { status, headers, names } = this.head ?? headOf(this.response);
    return { status, headers, names, body: Buffer.concat(this.chunks) };
  }

  /** What is streamed from here is wanted even when the client is gone. */
  keep(source: Readable): void {
    if (!this.isLetGo) {
      this.pipes.keep(source);
    }
  }

  call(name: HeldMethod, args: unknown[]): unknown {
    switch (name) {
      case 'writeHead':
        return this.writeHead(args);
      case 'write':
        return this.write(args);
      case 'end':
        return this.end(args);
      case 'flushHeaders':
        return this.commit();
    }
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
    replaceHead(this.response, other);
    setHeaders(this.response, extraHeaders);
    this.finish(isBodiless(other.status) ? Buffer.alloc(0) : other.body);
    this.isReplaced = true;
  }

  private letGo(): boolean {
    if (this.isLetGo) {
      return false;
    }
    this.isLetGo = true;
    this.pipes.stop();
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
    if (this.head === undefined) {
      const { status, message, headers } = headArguments(args);
      this.response.statusCode = status;
      if (message !== undefined) {
        this.response.statusMessage = message;
      }
      for (const [name, value] of headers) {
        this.response.setHeader(name, value);
      }
      this.commit();
    }
    return this.response;
  }

  private write(args: unknown[]): boolean {
    const { chunk, encoding, callback } = bodyArguments(args);
    if (callback !== undefined) {
      process.nextTick(callback);
    }
    if (this.isReplaced) {
      return true;
    }
    this.commit();
    this.collect(chunk, encoding);
    return !this.overflowed;
  }

  private end(args: unknown[]): ServerResponse {
    if (this.isEnded || this.isReplaced) {
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
    this.overflowed = this.waitsWhenFull;
    this.resolveEvent('overflow');
  }
}
