import { INITIAL_STOCK, type Evidence } from './evidence.js';
import { groupBy } from './group-by.js';
import type { Call, IntentRecord } from './history.js';

/** A promise that was broken, and how it shows. */
export interface Violation {
  readonly rule: string;
  readonly intent?: string;
  readonly detail: string;
}

/** One effect of an intent, wherever it is to be found. */
interface Effect {
  readonly nonce: string;
  readonly variant: string;
}

interface Outcome {
  readonly nonce: string;
  readonly charge?: string;
}

/** Where the effects of a workload are to be found. */
export type EffectsAt = 'ledger' | 'provider';

/** Compares everything that was answered with everything that happened. */
export function check(evidence: Evidence, effectsAt: readonly EffectsAt[]): Violation[] {
  const { history, deaths, openTransactions } = evidence;
  const calls = groupBy(history.calls, ({ intent }) => intent);
  const effects = effectsAt.map((at) => effectsOf(evidence, at));
  return [
    ...history.intents.flatMap((record) => {
      const own = calls.get(record.intent) ?? [];
      return [
        ...agreement(record, own),
        ...realTime(record, own),
        ...known(record, own),
        ...effects.flatMap((of) => exactlyOnce(record, own, of.get(record.intent) ?? [])),
      ];
    }),
    ...independence(history.calls),
    ...accounts(evidence),
    ...fences(evidence),
    ...history.stuck.map((intent) => ({
      rule: 'liveness',
      intent,
      detail: 'no outcome although the faults are over',
    })),
    ...deaths.map((detail) => ({ rule: 'no application dies by itself', detail })),
    ...(openTransactions > 0
      ? [{ rule: 'nothing is left open', detail: `${openTransactions} idle in transaction` }]
      : []),
  ];
}

/** Answers that count: an outcome which the store could not take may differ once its process is dead. */
export function acknowledged(calls: readonly Call[]): Call[] {
  return calls.filter(({ certainty, unrecorded }) => certainty === 'ok' && unrecorded !== true);
}

function agreement({ intent }: IntentRecord, calls: readonly Call[]): Violation[] {
  const bodies = new Set(acknowledged(calls).map(({ body }) => body));
  return bodies.size > 1
    ? [{ rule: 'all answers are the same', intent, detail: [...bodies].join(' and ') }]
    : [];
}

/** What begins after an answer was there gets that answer, and nothing runs. */
function realTime({ intent }: IntentRecord, calls: readonly Call[]): Violation[] {
  const first = Math.min(...acknowledged(calls).map(({ ended }) => ended));
  return calls
    .filter(({ began }) => began > first)
    .filter(
      ({ certainty, replayed, code }) =>
        (certainty === 'ok' && replayed !== true) || code === 'IDEMPOTENCY_IN_PROGRESS',
    )
    .map(({ status, code }) => ({
      rule: 'a retry after the answer is a replay',
      intent,
      detail: `it was answered ${status} ${code ?? 'by a run of its own'}`,
    }));
}

/** No answer that nobody promised, and none to a body other than the one that ran. */
function known({ intent, variants }: IntentRecord, calls: readonly Call[]): Violation[] {
  const answered = new Set(acknowledged(calls).map(({ variant }) => variant));
  const odd = calls.filter(({ certainty, status }) =>
    variants.length > 1
      ? false
      : certainty === 'fail' || (typeof status === 'number' && isOdd(status)),
  );
  return [
    ...odd.map(({ status, code }) => ({
      rule: 'no odd answer',
      intent,
      detail: `${status} ${code ?? ''}`,
    })),
    ...(answered.size > 1
      ? [{ rule: 'no other body is answered', intent, detail: [...answered].join(' and ') }]
      : []),
  ];
}

function isOdd(status: number): boolean {
  return status >= 400 && status < 500 && status !== 409;
}

function exactlyOnce(
  { intent }: IntentRecord,
  calls: readonly Call[],
  effects: readonly Effect[],
): Violation[] {
  const [answer] = acknowledged(calls);
  const rule = answer === undefined ? 'at most one effect' : 'exactly one effect';
  if (effects.length > 1 || (answer !== undefined && effects.length === 0)) {
    return [{ rule, intent, detail: `${effects.length} effects` }];
  }
  if (answer === undefined) {
    return [];
  }
  const { nonce, charge } = JSON.parse(answer.body as string) as Outcome;
  const effect = effects[0] as Effect;
  return [nonce, charge].includes(effect.nonce)
    ? []
    : [
        {
          rule: 'the answer tells the effect',
          intent,
          detail: `${answer.body} and ${effect.nonce}`,
        },
      ];
}

function effectsOf({ ledger, attempts }: Evidence, at: EffectsAt): Map<string, Effect[]> {
  if (at === 'ledger') {
    return groupBy(ledger, ({ intent }) => intent);
  }
  const charges = attempts
    .filter(({ charged }) => charged)
    .map(({ intent, charge, variant }) => ({ intent, nonce: charge, variant }));
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
    .map((intents) => ({ rule: 'tenants are independent', detail: intents.join(' and ') }));
}

/** What left the stock is what the ledger holds. */
function accounts({ ledger, stock }: Evidence): Violation[] {
  return stock.flatMap(({ sku, quantity }) => {
    const sold = ledger
      .filter((entry) => entry.sku === sku)
      .reduce((sum, { amount }) => sum + amount, 0);
    const detail = `${sku}: ${INITIAL_STOCK - quantity} taken, ${sold} in the ledger`;
    return INITIAL_STOCK - quantity === sold ? [] : [{ rule: 'stock and ledger add up', detail }];
  });
}

/** No two attempts share a fence, and of one intent the later attempt has the higher one. */
function fences({ attempts }: Evidence): Violation[] {
  const violations: Violation[] = [];
  for (const [fence, sharing] of groupBy(attempts, (attempt) => attempt.fence)) {
    const runs = new Set(sharing.map(({ nonce }) => nonce));
    if (runs.size > 1) {
      violations.push({
        rule: 'a fence belongs to one attempt',
        detail: `${fence}: ${runs.size} runs`,
      });
    }
  }
  for (const [intent, own] of groupBy(attempts, (attempt) => attempt.intent)) {
    const numbers = own
      .toSorted((one, other) => Number(BigInt(one.fence) - BigInt(other.fence)))
      .map(({ attempt }) => attempt);
    if (numbers.some((number, index) => index > 0 && number <= (numbers[index - 1] as number))) {
      violations.push({ rule: 'fences rise', intent, detail: `attempts ${numbers.join(', ')}` });
    }
  }
  return violations;
}
