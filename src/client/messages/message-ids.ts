import {
  concat,
  defer,
  EMPTY,
  from,
  ignoreElements,
  mergeMap,
  ReplaySubject,
  type Observable,
} from 'rxjs';
import { show } from '../../option-values.js';
import { misconfigured } from '../../options-check.js';
import {
  checkIdField,
  recordsOf,
  type Identified,
  type MakeRecord,
  type MessageIdOptions,
} from '../../outbox/sinks/client-records.js';
import { uuidv7 } from '../keys.js';

const WHERE = 'withMessageIds()';

/** What is used of Nest's `ClientProxy`. */
export interface MessageClient {
  emit(pattern: string, data: unknown): Observable<unknown>;
  send(pattern: string, data: unknown): Observable<unknown>;
}

export interface MessageSettings {
  /**
   * What the receiver knows the message by. Give it where the same message may be sent by another call.
   * @default a new UUIDv7
   */
  readonly id?: string;
  /** Further headers, on transports that have them. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client whose messages have ids. */
export interface IdentifiedClient {
  /** Sends at once. Completes when the broker has the message, as far as its client can tell. */
  emit(pattern: string, data: unknown, settings?: MessageSettings): Observable<unknown>;
  /** Sends for each subscription, with one id: `retry()` and `timeout()` ask for the same reply. */
  send<Reply = unknown>(
    pattern: string,
    data: unknown,
    settings?: MessageSettings,
  ): Observable<Reply>;
}

/**
 * Gives each message of a `ClientProxy` of `@nestjs/microservices` an id, where `@Idempotent()` at the receiver looks
 * for it: the header `idempotency-key`, and `messageId` (RabbitMQ), `Nats-Msg-Id`, a user property of MQTT 5, or a
 * field of the payload.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`; the observables fail with it where the client's messages
 *   cannot carry an id
 */
export function withMessageIds(
  client: MessageClient,
  { idField }: MessageIdOptions = {},
): IdentifiedClient {
  if (typeof (client as Partial<MessageClient> | undefined)?.send !== 'function') {
    throw misconfigured(
      WHERE,
      `the client is ${show(client)}. Give a ClientProxy of @nestjs/microservices.`,
    );
  }
  checkIdField(WHERE, idField);
  let records: Promise<MakeRecord> | undefined;
  const ready = () => defer(() => (records ??= recordsOf(WHERE, client, idField)));
  return {
    emit(pattern, data, settings) {
      const message = identified(data, settings);
      const sent = new ReplaySubject<unknown>();
      ready()
        .pipe(
          mergeMap(({ make, confirm }) =>
            concat(
              client.emit(pattern, make(message)),
              defer(() => (confirm === undefined ? EMPTY : from(confirm()))).pipe(ignoreElements()),
            ),
          ),
        )
        .subscribe(sent);
      return sent.asObservable();
    },
    send<Reply>(pattern: string, data: unknown, settings?: MessageSettings): Observable<Reply> {
      const message = identified(data, settings);
      return ready().pipe(
        mergeMap(({ make }) => client.send(pattern, make(message)) as Observable<Reply>),
      );
    },
  };
}

function identified(
  payload: unknown,
  { id = uuidv7(), headers = {} }: MessageSettings = {},
): Identified {
  if (typeof id !== 'string' || id === '') {
    throw misconfigured(WHERE, `the id is ${show(id)}. Give a text that names the message.`);
  }
  const { name } = (Object(payload) as object).constructor ?? {};
  if (/^(Rmq|Mqtt|Nats)Record$/.test(name)) {
    throw misconfigured(
      WHERE,
      `the data is a ${name}, which is made here. Give its data, and its headers beside it.`,
    );
  }
  return { id, headers, payload, orderingKey: undefined };
}
