import { Inject, Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { IdempotencyError, type IdempotencyCode } from '../engine/errors.js';

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

const STATUSES: Partial<Record<IdempotencyCode, number>> = {
  IDEMPOTENCY_KEY_INVALID: 400,
  IDEMPOTENCY_MISCONFIGURED: 400,
  IDEMPOTENCY_STORE_UNAVAILABLE: 503,
};

/** Answers by itself, on every platform, so that no interceptor of the application wraps what the page reads. */
@Injectable()
export class Responder {
  constructor(@Inject(HttpAdapterHost) private readonly host: HttpAdapterHost) {}

  send(response: unknown, type: string, text: string, status = 200): void {
    const { httpAdapter } = this.host;
    for (const [name, value] of Object.entries({ ...HEADERS, 'Content-Type': type })) {
      httpAdapter.setHeader(response, name, value);
    }
    httpAdapter.reply(response, text, status);
  }

  /** Sends what `ask` answers; `null` is 404. Errors of this library are told by their codes, all others thrown. */
  async json(response: unknown, ask: () => Promise<unknown>): Promise<void> {
    try {
      const answer = await ask();
      this.sendJson(response, answer, answer === null ? 404 : 200);
    } catch (error) {
      const status = error instanceof IdempotencyError ? STATUSES[error.code] : undefined;
      if (status === undefined) {
        throw error;
      }
      const { code, message } = error as IdempotencyError;
      this.sendJson(response, { code, detail: message }, status);
    }
  }

  urlOf(request: unknown): string {
    return String(this.host.httpAdapter.getRequestUrl(request));
  }

  private sendJson(response: unknown, body: unknown, status: number): void {
    this.send(response, 'application/json; charset=utf-8', JSON.stringify(body), status);
  }
}
