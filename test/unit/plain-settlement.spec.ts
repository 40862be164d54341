import { IdempotencyError, type IdempotencyCode } from '../../src/engine/errors.js';
import type { IncomingMessage } from '../../src/messaging/incoming-message.js';
import { PlainSettlement } from '../../src/messaging/plain-settlement.js';
import type { MessageEnd } from '../../src/messaging/settlement.js';

const error = new Error('sold out');
const failed = (isReplay: boolean): MessageEnd => ({
  type: 'failed',
  error,
  isReplay,
  isParked: false,
});
const refused = (code: IdempotencyCode): MessageEnd => ({
  type: 'refused',
  error: new IdempotencyError(code, code),
});

describe('a message of a transport that knows no acknowledgement', () => {
  const settle = (isRequest: boolean, end: MessageEnd): unknown =>
    new PlainSettlement({ isRequest } as IncomingMessage).settle({
      end,
      operation: 'x',
      retryMs: 0,
      onExhausted: 'park',
    });

  it('is told once, as an event, that its handler threw', () => {
    expect(() => settle(false, failed(false))).toThrow(error);
    expect(settle(false, failed(true))).toBeUndefined();
  });

  it('is told each time, as a request, that its handler threw', () => {
    for (const isReplay of [false, true]) {
      expect(() => settle(true, failed(isReplay))).toThrow(error);
    }
  });

  it.each(['IDEMPOTENCY_IN_PROGRESS', 'IDEMPOTENCY_RESULT_UNAVAILABLE'] as const)(
    'is skipped as an event for %s, and refused as a request',
    (code) => {
      expect(settle(false, refused(code))).toBeUndefined();
      expect(() => settle(true, refused(code))).toThrow(code);
    },
  );

  it('is refused for everything else', () => {
    const end = refused('IDEMPOTENCY_KEY_REUSED');
    expect(() => settle(false, end)).toThrow('IDEMPOTENCY_KEY_REUSED');
  });

  it('gets what the handler answered', () => {
    expect(settle(false, { type: 'done', value: 1, isReplay: true })).toBe(1);
    expect(settle(false, { type: 'rejected', value: 2, isParked: false })).toBe(2);
  });
});
