import type { IdempotentOptions } from '../idempotency.options.js';
import { misconfigured } from '../options-check.js';
import { entryPointOf, KAFKA, RABBITMQ, TRANSPORT, type EntryPoint } from './handler-kind.js';

interface Place {
  readonly entryPoint: EntryPoint | undefined;
  /** One of Nest's, where the handler names it. */
  readonly transport: unknown;
}

interface Rule {
  counts(place: Place): boolean;
  /** Why not elsewhere, and what to write there. */
  readonly instead: string;
}

const onRoutes = ({ entryPoint }: Place): boolean => entryPoint === 'route';
const onMessages = (place: Place): boolean => !onRoutes(place);
const over =
  (wanted: number) =>
  ({ entryPoint, transport }: Place): boolean =>
    entryPoint === 'message' && (transport === undefined || transport === wanted);
const overRabbit = over(RABBITMQ);
const toRabbit = (place: Place): boolean => place.entryPoint === 'rabbit' || overRabbit(place);

const IDS =
  'the ids of messages come in many forms, and are told apart as they are. Leave it out here, or check the id in ' +
  'messageId: (message) => ….';
const DELIVERY =
  'only RabbitMQ can be told when an event is to come again, and where it goes at last. Leave it out here, and write ' +
  'attempts: { max }.';

/** What counts in some places only, and would be dropped in silence in the others. */
const RULES: Readonly<Record<string, Rule>> = {
  strictKey: { counts: onRoutes, instead: IDS },
  keyPattern: { counts: onRoutes, instead: IDS },
  maxKeyLength: { counts: onRoutes, instead: IDS },
  fingerprint: {
    counts: onRoutes,
    instead: 'the payload of a message is compared as a whole. Leave it out here.',
  },
  replayHeaders: {
    counts: onRoutes,
    instead: 'the reply to a message has no headers of its own. Leave it out here.',
  },
  redact: {
    counts: onRoutes,
    instead:
      'the result of a message is kept as a whole. Leave it out here, and answer without what must not be kept.',
  },
  maxKeysPerScope: {
    counts: onRoutes,
    instead: 'a message belongs to the consumer, which has one key for each. Leave it out here.',
  },
  authorizeReplay: {
    counts: onRoutes,
    instead:
      'the result of a message is answered to whoever has its id and payload. Leave it out here.',
  },
  scope: {
    counts: ({ entryPoint }) => entryPoint === 'route' || entryPoint === 'graphql',
    instead:
      'a message belongs to the consumer. Leave it out here, or let messageId: (message) => … answer the id ' +
      'together with whose it is.',
  },
  consumer: {
    counts: onMessages,
    instead: "a request's key holds for all routes of its scope. Leave it out here.",
  },
  messageId: {
    counts: onMessages,
    instead:
      "a request brings its key in a header. Leave it out here, or name another one: header: 'X-Request-Id'.",
  },
  attempts: {
    counts: onMessages,
    instead: 'an HTTP client decides itself how often it tries. Leave it out here.',
  },
  'attempts.backoff': { counts: toRabbit, instead: DELIVERY },
  'attempts.onExhausted': { counts: toRabbit, instead: DELIVERY },
  kafkaPosition: {
    counts: over(KAFKA),
    instead: 'only messages of Kafka have a position. Leave it out here.',
  },
  noAck: {
    counts: overRabbit,
    instead:
      "it tells of the options of Nest's own transport for RabbitMQ, and nothing else has it. Leave it out here.",
  },
};

/**
 * What a decorator says has to count: of a class, for one of its handlers at least. What the module says is for
 * whom it fits.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function checkPlaces(
  options: IdempotentOptions,
  handlers: readonly object[],
  where: string,
): void {
  const places = handlers.map(placeOf);
  // who calls it cannot be known
  if (places.length === 0 || places.some(({ entryPoint }) => entryPoint === undefined)) {
    return;
  }
  const { backoff, onExhausted } = options.attempts ?? {};
  const given = { ...options, 'attempts.backoff': backoff, 'attempts.onExhausted': onExhausted };
  for (const [name, value] of Object.entries(given)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
    if (value !== undefined && rule !== undefined && !places.some((place) => rule.counts(place))) {
      throw misconfigured(where, `option '${name}' would not count here: ${rule.instead}`);
    }
  }
}

function placeOf(handler: object): Place {
  const transport: unknown = Reflect.getMetadata(TRANSPORT, handler);
  return { entryPoint: entryPointOf(handler), transport };
}
