import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { IdempotencyStore } from '../../src/engine/store.js';
import type { ClaimReport } from './claim-process.js';
import { startProgram } from './program.js';
import { token } from './typeorm-stores.js';

const PROCESSES = 4;
const KEYS = 20;

/** Several processes claim the same keys at once, twice; fails unless one claim of each key wins. */
export async function expectOneWinner(
  store: IdempotencyStore,
  program: string,
  given: unknown,
): Promise<void> {
  const children: ChildProcess[] = [];
  try {
    for (let n = 0; n < PROCESSES; n++) children.push(startProgram(program, given));
    await Promise.all(children.map((child) => message(child)));
    const ids = Array.from({ length: KEYS }, token);
    let lastFence = 0n;
    for (let turn = 0; turn < 2; turn++) {
      const answers = children.map((child) => message(child) as Promise<ClaimReport[]>);
      for (const child of children) child.send(ids);
      const reports = (await Promise.all(answers)).flat();
      const winners = reports.filter(({ won }) => won);
      expect(winners.map(({ id }) => id).sort()).toEqual([...ids].sort());
      const owners = new Map(winners.map(({ id, owner }) => [id, owner]));
      for (const { id, owner } of reports) expect(owner).toBe(owners.get(id));
      const fences = winners.map(({ fence }) => BigInt(fence));
      expect(new Set(fences).size).toBe(KEYS);
      for (const fence of fences) expect(fence).toBeGreaterThan(lastFence);
      lastFence = fences.reduce((a, b) => (a > b ? a : b));
      for (const winner of winners) {
        expect(await store.release(winner)).toEqual({ applied: true });
      }
    }
  } finally {
    await Promise.all(children.map(stop));
  }
}

/** The next message of the child; fails when it ends without one. */
export async function message(child: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  const { signal } = over;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`the process ended with code ${String(code)}`);
  });
  const [answer] = (await Promise.race([once(child, 'message', { signal }), ended]).finally(() => {
    over.abort();
    ended.catch(() => undefined);
  })) as [unknown];
  return answer;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.disconnect();
  await ended;
}
