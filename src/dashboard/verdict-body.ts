import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { misconfigured } from '../options-check.js';

interface Request {
  readonly body?: unknown;
}

/**
 * What somebody says became of an operation: a body `{ "verdict": "…" }`, whose text is JSON once more. However the
 * application reads bodies, and whatever it makes of their members, the text stays as it was written.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a body that holds none
 */
export async function readVerdict(request: unknown): Promise<unknown> {
  try {
    const { body } = request as Request;
    // nobody has read it where the application has no body parser
    const read = body === undefined ? await text(request as Readable) : body;
    const parsed: unknown = isText(read)
      ? JSON.parse(Buffer.from(read as string).toString())
      : read;
    return JSON.parse(String((parsed as { verdict?: unknown }).verdict));
  } catch {
    throw misconfigured(
      'IdempotencyDashboardModule',
      'the body of this request holds no verdict. Send JSON, {"verdict": "{\\"result\\": …}"}, and let the ' +
        'application read JSON bodies.',
    );
  }
}

/** As a parser for every type leaves it. */
function isText(body: unknown): boolean {
  return typeof body === 'string' || body instanceof Uint8Array;
}
