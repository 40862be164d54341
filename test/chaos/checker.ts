import { INITIAL_STOCK, type Evidence } from './evidence.js';
import { groupBy } from './group-by.js';
import type { Configuration } from './configurations.js';
import type { Call, IntentRecord } from './history.js';

/** What the library promises, as far as answers and effects can show it. */
export type Rule =
  | 'all answers are the same'
  | 'a retry after the answer is a replay'
  | 'no odd answer'
  | 'no other body is answered'
  | 'exactly one effect'
  | 'at most one effect'
  | 'the answer tells the effect'
  | 'tenants are independent'
  | 'stock and ledger add up'
  | 'a fence belongs to one attempt'
  | 'fences rise'
  | 'every key has an outcome once the faults are over'
  | 'no application dies by itself'
  | 'nothing is left open'
  | 'every connection is given back';

/** A promise that was broken, and how it shows. */
export interface Violation {
  readonly rule: Rule;
  readonly intent?: string;
  readonly detail: string;
}

/** One effect of an intent, wherever it is to be found. */
interface Effect {
  readonly nonce: string;
}

const IN_PROGRESS = 'IDEMPOTENCY_IN_PROGRESS';
const UNCERTAIN = 'IDEMPOTENCY_OUTCOME_UNCERTAIN';
/** The store's time-out, and a pause of the process that asked it. In milliseconds. */
const LONGEST_QUESTION_MS = 2_000;

interface Outcome {
  readonly nonce: string;
  readonly charge?: string;
}

/** Where the effects of a workload are to be found. */
export type EffectsAt = 'ledger' | 'provider';

/** What the workload promises. */
type Promised = Pick<Configuration, 'effectsAt' | 'mayDifferUnrecorded' | 'mayStayUncertain'>;

/** Compares everything that was answered with everything that happened. */
export function check(evidence: Evidence, promised: Promised): Violation[] {
  const { history, deaths, leaks, openTransactions } = evidence;
  const calls = groupBy(history.calls, ({ intent }) => intent);
  const effects = promised.effectsAt.map((at) => effectsOf(evidence, at));
  return [
    ...history.intents.flatMap((record) => {
      const own = calls.get(record.intent) ?? [];
      const answers = acknowledged(own, promised);
      return [
        ...agreement(record, answers),
        ...realTime(record, own),
        ...noOddAnswer(record, own, promised),
        ...noOtherBody(record, answers),
        ...effects.flatMap((of) => exactlyOnce(record, answers, of.get(record.intent) ?? [])),
      ];
    }),
    ...independence(history.calls),
    ...accounts(evidence),
    ...fences(evidence),
    ...history.stuck.flatMap((intent) =>
      broken('every key has an outcome once the faults are over', 'it has none', intent),
    ),
    ...deaths.flatMap((detail) => broken('no application dies by itself', detail)),
    ...openTransactions.flatMap((detail) => broken('nothing is left open', detail)),
    ...leaks.flatMap((detail) => broken('every connection is given back', detail)),
  ];
}

/** Answers that count. */
export function acknowledged(calls: readonly Call[], promised: Promised): Call[] {
  return promised.mayDifferUnrecorded === true
    ? recorded(calls)
    : calls.filter(({ certainty }) => certainty === 'ok');
}

/** Answers that did not go out because the store was away and could not take them. */
export function recorded(calls: readonly Call[]): Call[] {
  return calls.filter(({ certainty, unrecorded }) => certainty === 'ok' && unrecorded !== true);
}

function broken(rule: Rule, detail: string, intent?: string): Violation[] {
  return [{ rule, detail, ...(intent !== undefined && { intent }) }];
}

function agreement({ intent }: IntentRecord, answers: readonly Call[]): Violation[] {
  const bodies = new Set(answers.map(({ body }) => body));
  return bodies.size > 1
    ? broken('all answers are the same', [...bodies].join(' and '), intent)
    : [];
}

/** What begins after an answer was there gets that answer, and nothing runs. */
function realTime({ intent }: IntentRecord, calls: readonly Call[]): Violation[] {
  const first = Math.min(...recorded(calls).map(({ ended }) => ended));
  return calls
    .filter(({ began }) => began > first)
    .filter(
      (call) =>
        (call.certainty === 'ok' && call.replayed !== true) ||
        (call.code === IN_PROGRESS && !isToldByEarlier(call, calls, first)) ||
        call.code === UNCERTAIN,
    )
    .flatMap(({ status, code }) =>
      broken(
        'a retry after the answer is a replay',
        `it was answered ${status} ${code ?? 'by a run of its own'}`,
        intent,
      ),
    );
}

/**
 * Of all that come to one server with one key one asks the database, and the others are told what it found: it
 * may have asked before there was an outcome. A call that its client has given up may still be at it.
 */
function isToldByEarlier({ place, began }: Call, calls: readonly Call[], first: number): boolean {
  return calls.some(
    (other) =>
      other.place === place &&
      other.began < first &&
      began < other.ended + (other.certainty === 'info' ? LONGEST_QUESTION_MS : 0),
  );
}

/** Clients that do what they should are told to wait, or to come again, or the outcome. */
function noOddAnswer(
  { intent, variants }: IntentRecord,
  calls: readonly Call[],
  { mayStayUncertain = false }: Promised,
): Violation[] {
  return calls
    .filter(({ status, code, certainty }) => {
      const isReuse = variants.length > 1 && code === 'IDEMPOTENCY_KEY_REUSED';
      const isWait = code === IN_PROGRESS || (mayStayUncertain && code === UNCERTAIN);
      const isRefused = typeof status === 'number' && status >= 400 && status < 500;
      return (isRefused || certainty === 'fail') && !isReuse && !isWait;
    })
    .flatMap(({ status, code }) => broken('no odd answer', `${status} ${code ?? ''}`, intent));
}

function noOtherBody({ intent }: IntentRecord, answers: readonly Call[]): Violation[] {
  const answered = new Set(answers.map(({ variant }) => variant));
  return answered.size > 1
    ? broken('no other body is answered', [...answered].join(' and '), intent)
    : [];
}

function exactlyOnce(
  { intent }: IntentRecord,
  [answer]: readonly Call[],
  effects: readonly Effect[],
): Violation[] {
  if (effects.length > 1 || (answer !== undefined && effects.length === 0)) {
    const rule = answer === undefined ? 'at most one effect' : 'exactly one effect';
    return broken(rule, `${effects.length} effects`, intent);
  }
  if (answer === undefined) {
    return [];
  }
  const { nonce, charge } = JSON.parse(answer.body as string) as Outcome;
  const effect = effects[0] as Effect;
  return [nonce, charge].includes(effect.nonce)
    ? []
    : broken('the answer tells the effect', `${answer.body} and ${effect.nonce}`, intent);
}

function effectsOf({ ledger, attempts }: Evidence, at: EffectsAt): Map<string, Effect[]> {
  if (at === 'ledger') {
    return groupBy(ledger, ({ intent }) => intent);
  }
  const charges = attempts
    .filter(({ charged }) => charged)
    .map(({ intent, charge }) => ({ intent, nonce: charge }));
  return groupBy(charges, ({ intent }) => intent);
}

/** The same key of somebody else is another intent: no answer belongs to two. */
function independence(calls: readonly Call[]): Violation[] {
  const owners = groupBy(
    calls.filter(({ body }) => body !== undefined),
    ({ body }) => body,
  );
  return [...owners.values()]
    .map((sharing) => [...new Set(sharing.map(({ intent }) => intent))])
    .filter((intents) => intents.length > 1)
    .flatMap((intents) => broken('tenants are independent', intents.join(' and ')));
}

/** What left the stock is what the ledger holds. */
function accounts({ ledger, stock }: Evidence): Violation[] {
  const sales = groupBy(ledger, ({ sku }) => sku);
  return stock.flatMap(({ sku, quantity }) => {
    const sold = (sales.get(sku) ?? []).reduce((sum, { amount }) => sum + amount, 0);
    const taken = INITIAL_STOCK - quantity;
    const detail = `${sku}: ${taken} taken, ${sold} in the ledger`;
    return taken === sold ? [] : broken('stock and ledger add up', detail);
  });
}

/** No two attempts share a fence, and of one intent the later attempt has the higher one. */
function fences({ attempts, ledger }: Evidence): Violation[] {
  const shared = [...groupBy([...attempts, ...ledger], ({ fence }) => fence)].flatMap(
    ([fence, sharing]) => {
      const runs = new Set(sharing.map(({ nonce }) => nonce));
      return runs.size > 1
        ? broken('a fence belongs to one attempt', `${fence}: ${runs.size} runs`)
        : [];
    },
  );
  const falling = [...groupBy(attempts, ({ intent }) => intent)].flatMap(([intent, own]) => {
    const numbers = own
      .toSorted((one, other) => (BigInt(one.fence) < BigInt(other.fence) ? -1 : 1))
      .map(({ attempt }) => attempt);
    const isRising = numbers.every(
      (number, index) => index === 0 || number > (numbers[index - 1] as number),
    );
    return isRising ? [] : broken('fences rise', `attempts ${numbers.join(', ')}`, intent);
  });
  return [...shared, ...falling];
}
