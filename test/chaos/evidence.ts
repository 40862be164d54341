import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, DataSourceOptions } from 'typeorm';
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
  /** Connections that nobody uses and nobody gave back, in a sentence each. */
  readonly leaks: readonly string[];
  /** Transactions that are open although nobody does anything, in a sentence each. */
  readonly openTransactions: readonly string[];
}

/** What every article starts with. */
export const INITIAL_STOCK = 1_000_000;

/**
 * Requests that were answered, or given up by their clients, have ended theirs within so long, in milliseconds. MariaDB
 * counts the silence after which it ends a session in whole seconds.
 */
const PATIENCE_MS = 5_000;

const OPEN_TRANSACTIONS: Partial<Record<DataSourceOptions['type'], string>> = {
  postgres:
    "SELECT concat_ws(' ', state, 'for', now() - state_change, 'after', left(query, 80)) AS said " +
    'FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ' +
    `datname = current_database() AND state LIKE 'idle in transaction%'`,
  mariadb:
    "SELECT CONCAT_WS(' ', trx_state, 'since', trx_started, command, 'for', time, 's', LEFT(info, 80)) AS said " +
    'FROM information_schema.innodb_trx LEFT JOIN information_schema.processlist ON id = trx_mysql_thread_id ' +
    'WHERE trx_mysql_thread_id NOT IN (0, connection_id())',
};

export async function gather(
  known: Pick<Evidence, 'history' | 'deaths' | 'leaks'>,
  observer: DataSource,
  providerPort: number,
): Promise<Evidence> {
  const [ledger, stock, attempts, openTransactions] = await Promise.all([
    observer.manager.find(LedgerEntry),
    observer.manager.find(Stock),
    fetch(`http://127.0.0.1:${providerPort}/`).then(
      (response) => response.json() as Promise<ChargeAttempt[]>,
    ),
    openTransactionsOn(observer),
  ]);
  return { ...known, ledger, stock, attempts, openTransactions };
}

async function openTransactionsOn(observer: DataSource): Promise<string[]> {
  const sql = OPEN_TRANSACTIONS[observer.options.type];
  if (sql === undefined) {
    return [];
  }
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const open = await observer.query<{ said: string }[]>(sql);
    if (open.length === 0 || performance.now() > deadline) {
      return open.map(({ said }) => said);
    }
    await sleep(50);
  }
}
