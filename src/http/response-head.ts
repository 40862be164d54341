import type { ServerResponse } from 'node:http';
import type { WireResponse } from './recorded-response.js';

export interface ResponseHead {
  readonly status: number;
  readonly message: string | undefined;
  /** Lower-case names. */
  readonly headers: WireResponse['headers'];
  readonly names: Readonly<Record<string, string>>;
}

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

/** The head as it would go out now. */
export function headOf(response: ServerResponse): ResponseHead {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(response.getHeaders())) {
    if (value !== undefined) {
      headers[name] = Array.isArray(value) ? [...value] : String(value);
    }
  }
  return {
    status: response.statusCode,
    message: hasReason(response) ? response.statusMessage : undefined,
    headers,
    names: namesOf(response),
  };
}

/** HTTP/2 has no reason phrases, and Node warns of whoever asks for one. */
function hasReason({ req }: ServerResponse): boolean {
  return req.httpVersionMajor < 2;
}

function setReason(response: ServerResponse, message: string | undefined): void {
  if (hasReason(response)) {
    response.statusMessage = message as string; // Node's own default is undefined
  }
}

/** Header names as they were written, by their lower case. Node's HTTP/2 responses have only lower case. */
function namesOf(response: ServerResponse): Record<string, string> {
  // @types/node knows it on requests of a client only
  const { getRawHeaderNames } = response as { getRawHeaderNames?: () => string[] };
  const names = getRawHeaderNames?.call(response) ?? [];
  return Object.fromEntries(names.map((name) => [name.toLowerCase(), name]));
}

/** Undoes what was set after the head counted as sent. */
export function restoreHead(
  response: ServerResponse,
  { status, message, headers }: ResponseHead,
): void {
  response.statusCode = status;
  setReason(response, message);
  for (const name of response.getHeaderNames()) {
    if (headers[name] === undefined) {
      response.removeHeader(name);
    }
  }
  for (const [name, value] of Object.entries(headers)) {
    if (String(response.getHeader(name)) !== String(value)) {
      response.setHeader(name, value);
    }
  }
}

/** What describes the response itself is the other one's; cookies, CORS and the like stay. */
export function replaceHead(response: ServerResponse, other: WireResponse): void {
  for (const name of REPRESENTATION) {
    response.removeHeader(name);
  }
  response.statusCode = other.status;
  setReason(response, '');
  setHeaders(response, other.headers);
  // the record of a HEAD request holds no body, and so not the length that it stands for
  if (!isBodiless(other.status) && response.req.method !== 'HEAD') {
    response.setHeader('Content-Length', other.body.length);
  }
}

export function setHeaders(response: ServerResponse, headers: WireResponse['headers']): void {
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value);
  }
}

export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}
