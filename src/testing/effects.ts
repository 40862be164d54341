import { AssertionError } from 'node:assert';

type Count = () => number | PromiseLike<number>;

/**
 * Does `work`, for example a storm of duplicates, and fails unless exactly one effect has come of it.
 *
 * @param count how many effects there are: rows, charges of a fake provider, mails
 * @returns what `work` answered
 * @throws AssertionError for none, or more than one; TypeError when `count` answers no number; what `work` throws
 */
export async function expectEffectOnce<T>(
  count: Count,
  work: () => T | PromiseLike<T>,
): Promise<T> {
  const before = await counted(count);
  const answer = await work();
  const effects = (await counted(count)) - before;
  if (effects !== 1) {
    throw new AssertionError({
      message: `Expected exactly one effect, and there were ${effects}.`,
      actual: effects,
      expected: 1,
      operator: 'expectEffectOnce',
    });
  }
  return answer;
}

async function counted(count: Count): Promise<number> {
  const effects: unknown = await count();
  if (typeof effects !== 'number' || Number.isNaN(effects)) {
    throw new TypeError(`The count of effects is ${String(effects)}. Answer it as a number.`);
  }
  return effects;
}
