import type { ExecutionContext } from '@nestjs/common';
import { IdempotencyError } from '../engine/errors.js';
import { idText } from './id-text.js';
import type { IncomingMessage } from './incoming-message.js';
import type { RouteSettings } from '../http/route-settings.js';

/** What says where a message's id is looked for. */
export type KeySettings = Pick<
  RouteSettings,
  'name' | 'required' | 'header' | 'messageId' | 'kafkaPosition'
>;

/** How the bindings of CloudEvents to the transports write an attribute's name in a header. */
const CLOUD_EVENTS = ['ce_', 'ce-', 'cloudevents:', 'cloudevents_'];

/**
 * The id that every delivery of one message has in common, the best one first. Never a correlation id, a delivery
 * tag or Nest's packet id: those name the delivery. `undefined` when there is none and none is needed.
 *
 * @throws IdempotencyError `IDEMPOTENCY_KEY_MISSING`; `IDEMPOTENCY_KEY_INVALID` for an id that others could share
 */
export function messageKey(
  message: IncomingMessage,
  context: ExecutionContext,
  { name, required, header, messageId, kafkaPosition }: KeySettings,
): string | undefined {
  const key =
    typeof messageId === 'function'
      ? idText(messageId(message, context))
      : (idText(message.headers.get(header.toLowerCase())) ??
        cloudEventId(message) ??
        idText(message.id) ??
        idText(message.headers.get('messageid')) ??
        (messageId === undefined ? undefined : idText(fieldOf(message.payload, messageId))) ??
        (kafkaPosition ? message.position : undefined));
  if (key === undefined && required) {
    throw new IdempotencyError(
      'IDEMPOTENCY_KEY_MISSING',
      `${name}: the message has no id. Let its sender set the header '${header}' or the transport's message ` +
        "id; or name the field of the payload that tells messages apart: @Idempotent({ messageId: 'orderId' }).",
    );
  }
  return key;
}

/** The id and its source: two sources may count alike. CloudEvents 1.0, sections 3.1.1 and 3.1.2. */
function cloudEventId({ headers, payload }: IncomingMessage): string | undefined {
  for (const prefix of CLOUD_EVENTS) {
    const id = idText(headers.get(`${prefix}id`));
    if (id !== undefined) {
      return composed(headers.get(`${prefix}source`), id);
    }
  }
  const event = payload as { specversion?: unknown; id?: unknown; source?: unknown } | null;
  const { specversion, id, source } = typeof event === 'object' ? (event ?? {}) : {};
  const text = typeof specversion === 'string' ? idText(id) : undefined;
  return text === undefined ? undefined : composed(source, text);
}

function composed(source: unknown, id: string): string | undefined {
  return idText(JSON.stringify([idText(source) ?? '', id]));
}

function fieldOf(payload: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, field) =>
        value !== null && typeof value === 'object' && Object.hasOwn(value, field)
          ? (value as Record<string, unknown>)[field]
          : undefined,
      payload,
    );
}
