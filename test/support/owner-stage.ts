import type { ChildProcess } from 'node:child_process';
import { openLedger, type Ledger, type LedgerPath } from './ledger.js';
import { startOwner, stop } from './owner-process.js';
import type { Owner } from './transactional-owner.js';

/** A ledger of its own for one test, and the other processes that meet in it. */
export interface OwnerStage {
  readonly ledger: Ledger;
  readonly key: string;
  /** Starts another process. */
  start(given?: Partial<Owner>): Promise<ChildProcess>;
  /** Runs the operation of the key in this process. */
  run(options?: object): Promise<unknown>;
}

export async function onOwnerStage(
  path: LedgerPath,
  body: (stage: OwnerStage) => Promise<void>,
): Promise<void> {
  const ledger = await openLedger(path, { poolSize: 2 });
  const children: ChildProcess[] = [];
  const key = 'key';
  try {
    await body({
      ledger,
      key,
      start: async (given) => {
        const child = await startOwner(ledger, path, given);
        children.push(child);
        return child;
      },
      run: (options = {}) =>
        ledger.service.execute({ key, ...options }, async () => {
          await ledger.entries.insert({ name: `${key}-mine` });
          return 'mine';
        }),
    });
  } finally {
    await Promise.all(children.map(stop));
    await ledger.close();
  }
}
