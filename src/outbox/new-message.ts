import { newOwner } from '../engine/identity.js';
import { toMilliseconds } from '../engine/duration.js';
import type { OutgoingOptions } from '../engine/outgoing.js';
import { duration, isRecord, show, type Check } from '../option-values.js';
import { checkEach, misconfigured } from '../options-check.js';

const WHERE = 'outbox.emit()';

/** A message that is to be written, as the row holds it. */
export interface NewMessage {
  readonly id: string;
  readonly sink: string;
  readonly pattern: string;
  readonly payload: Buffer;
  readonly headers: Buffer | null;
  readonly orderingKey: string | null;
  readonly delayMs: number;
}

const OPTIONS: Record<keyof OutgoingOptions, Check> = {
  to: (value) => (typeof value === 'string' ? undefined : 'Write the name of a sink.'),
  orderingKey: (value) => (isText(value) ? undefined : 'Write a text of 1 to 255 characters.'),
  delay: duration,
  headers: (value) =>
    isRecord(value) && Object.values(value).every((each) => typeof each === 'string')
      ? undefined
      : 'Write an object whose values are strings.',
  id: (value) =>
    typeof value === 'string' && /^[\x21-\x7e]{1,128}$/.test(value)
      ? undefined
      : 'Write 1 to 128 printable ASCII characters without blanks.',
  manager: (value) => {
    const { query, queryRunner } = Object(value) as {
      query?: unknown;
      queryRunner?: { isTransactionActive?: boolean };
    };
    return typeof query === 'function' && queryRunner?.isTransactionActive === true
      ? undefined
      : 'Write the manager that dataSource.transaction() has given, while its transaction is open.';
  },
};

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a message that cannot be kept. */
export function newMessage(
  pattern: unknown,
  payload: unknown,
  options: OutgoingOptions,
  sinks: readonly string[],
): NewMessage {
  if (!isText(pattern)) {
    throw misconfigured(
      WHERE,
      `the pattern is ${show(pattern)}. Write a text of 1 to 255 characters, such as 'order.placed'.`,
    );
  }
  if (!isRecord(options)) {
    throw misconfigured(WHERE, `the options are ${show(options)}. Write an object, or nothing.`);
  }
  const { manager, ...rest } = options;
  checkEach(OPTIONS, rest, WHERE);
  const instead = manager === undefined ? undefined : OPTIONS.manager(manager);
  if (instead !== undefined) {
    throw misconfigured(WHERE, `option 'manager' is in no transaction. ${instead}`);
  }
  const { id = newOwner(), headers, orderingKey = null, delay } = options;
  return {
    id,
    sink: sinkOf(options.to, sinks),
    pattern,
    payload: json(payload),
    headers: headers === undefined ? null : json(headers),
    orderingKey,
    delayMs: delay === undefined ? 0 : (toMilliseconds(delay) as number),
  };
}

function sinkOf(to: string | undefined, sinks: readonly string[]): string {
  const sink = to ?? (sinks.length === 1 ? sinks[0] : 'default');
  if (sink === undefined || !sinks.includes(sink)) {
    const names = sinks.map((name) => `'${name}'`).join(', ');
    throw misconfigured(
      WHERE,
      to === undefined
        ? `there are several sinks and none is named 'default'. Write { to: … } with one of ${names}.`
        : `option 'to' is ${show(to)}, and there is no such sink. Write one of ${names}.`,
    );
  }
  return sink;
}

function json(value: unknown): Buffer {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // a BigInt, or a circle
  }
  if (text === undefined) {
    throw misconfigured(
      WHERE,
      'the payload cannot be written down as JSON. Give plain data, without BigInt, functions or circles.',
    );
  }
  return Buffer.from(text);
}

/** Text that every database keeps as it is. */
function isText(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= 255 &&
    !value.includes('\0') &&
    !/\p{Surrogate}/u.test(value)
  );
}
