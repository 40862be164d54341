import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Ledger, LedgerPath } from './ledger.js';
import { startProgram } from './program.js';
import type { Owner } from './transactional-owner.js';

/** Another process that runs transactional operations over the database of the ledger, once it is ready. */
export async function startOwner(
  ledger: Ledger,
  path: LedgerPath,
  given: Partial<Owner> = {},
): Promise<ChildProcess> {
  const owner: Owner = {
    dataSource: ledger.database.options,
    ...(path === 'mysql-statements' && { dialect: 'mysql' as const }),
    lease: '30s',
    onConcurrent: 'reject',
    ...given,
  };
  const child = startProgram('transactional-owner', owner);
  const told = await message(child);
  if (told !== 'ready') throw new Error(`the process said ${String(told)}`);
  return child;
}

/** The next message of the child; fails when it ends without one. */
export async function message(child: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  const { signal } = over;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`the process ended with code ${String(code)}`);
  });
  const [told] = (await Promise.race([once(child, 'message', { signal }), ended]).finally(() => {
    over.abort();
    ended.catch(() => undefined);
  })) as [unknown];
  return told;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
