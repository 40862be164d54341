import type { DataSource } from 'typeorm';
import type { ChargeAttempt } from './app/provider.js';
import { LedgerEntry, Stock } from './app/entities.js';
import type { History } from './history.js';

/** Everything that a run leaves behind, for the checker. */
export interface Evidence {
  readonly history: History;
  readonly ledger: readonly LedgerEntry[];
  readonly stock: readonly Stock[];
  readonly attempts: readonly ChargeAttempt[];
  readonly deaths: readonly string[];
  /** Transactions that are open although nobody does anything. */
  readonly openTransactions: number;
}

/** What every article starts with. */
export const INITIAL_STOCK = 1_000_000;

const OPEN_TRANSACTIONS =
  'SELECT count(*) AS count FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ' +
  `datname = current_database() AND state LIKE 'idle in transaction%'`;

export async function gather(
  history: History,
  observer: DataSource,
  providerPort: number,
  deaths: readonly string[],
): Promise<Evidence> {
  const [ledger, stock, attempts, openTransactions] = await Promise.all([
    observer.manager.find(LedgerEntry),
    observer.manager.find(Stock),
    fetch(`http://127.0.0.1:${providerPort}/`).then(
      (response) => response.json() as Promise<ChargeAttempt[]>,
    ),
    countOpenTransactions(observer),
  ]);
  return { history, ledger, stock, attempts, deaths, openTransactions };
}

async function countOpenTransactions(observer: DataSource): Promise<number> {
  if (observer.options.type !== 'postgres') {
    return 0;
  }
  const [row] = await observer.query<{ count: string }[]>(OPEN_TRANSACTIONS);
  return Number(row?.count);
}
