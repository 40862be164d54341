import { parse, stringify } from 'devalue';
import { unreadable } from './envelope.js';

/**
 * Bytes that keep types: Date, BigInt, Map, Set, Buffer, RegExp, URL, `undefined`, `NaN`, cycles. `undefined`
 * for what cannot be kept: functions, symbols and instances of classes.
 */
export function serialize(value: unknown): Buffer | undefined {
  try {
    return Buffer.from(
      stringify(value, {
        Buffer: (item: unknown) => Buffer.isBuffer(item) && item.toString('base64'),
      }),
    );
  } catch {
    return undefined;
  }
}

/** @throws IdempotencyError `IDEMPOTENCY_RECORD_UNREADABLE` */
export function deserialize(body: Uint8Array): unknown {
  try {
    return parse(Buffer.from(body).toString(), {
      Buffer: (text: string) => Buffer.from(text, 'base64'),
    });
  } catch {
    throw unreadable('its value is in a form that this server does not know');
  }
}
