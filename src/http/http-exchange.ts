import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';
import type { HttpRequest } from '../idempotency.options.js';

/** One request and its response, the same on Express and Fastify. */
export interface HttpExchange {
  /** The platform's request: what guards, `scope` and `fingerprint` see. */
  readonly request: HttpRequest & PlatformRequest;
  /** The platform's response. */
  readonly response: { send: () => unknown };
  /** Node's own pair beneath it. */
  readonly rawRequest: IncomingMessage;
  readonly rawResponse: ServerResponse;
}

/** What body parsers and multipart plug-ins of the two platforms leave on a request. */
interface PlatformRequest {
  readonly originalUrl?: string;
  readonly rawBody?: unknown;
  readonly file?: unknown;
  readonly files?: unknown;
}

export function httpExchange(context: ExecutionContext): HttpExchange {
  const http = context.switchToHttp();
  const request = http.getRequest<HttpExchange['request'] & { raw?: IncomingMessage }>();
  const response = http.getResponse<HttpExchange['response'] & { raw?: ServerResponse }>();
  return {
    request,
    response,
    rawRequest: request.raw ?? (request as unknown as IncomingMessage),
    rawResponse: response.raw ?? (response as unknown as ServerResponse),
  };
}

/** Every line of a header as it came in: Node joins repeated lines, which would hide a second key. */
export function headerLines(request: IncomingMessage, lowerCaseName: string): string[] {
  const lines: string[] = [];
  const { rawHeaders } = request;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === lowerCaseName) {
      lines.push(rawHeaders[index + 1] ?? '');
    }
  }
  return lines;
}
