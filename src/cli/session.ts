import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { DataSource } from 'typeorm';
import { describeCause } from '../describe-cause.js';
import { IdempotencyError } from '../engine/errors.js';
import { TypeOrmStore } from '../stores/typeorm/typeorm.store.js';
import type { TableOptions } from '../stores/typeorm/schema.js';
import type { Values } from './command-line.js';
import { Refusal, UsageError } from './failures.js';
import { json, printable } from './print.js';

/** What a command works with. */
export class Session {
  constructor(
    readonly values: Values,
    readonly dataSource: DataSource,
  ) {}

  async store(): Promise<TypeOrmStore> {
    const store = new TypeOrmStore(this.dataSource, tableOptions(this.values));
    try {
      await store.init();
    } catch (error) {
      throw isTableMissing(error)
        ? new Refusal(
            `${error.message} From here: check --table and --schema, then run the command migrate` +
              `${describeCause(error)}.`,
          )
        : error;
    }
    return store;
  }

  /** Answers with `value` where JSON was asked for, and with `text` otherwise. */
  answer(value: unknown, text: string): void {
    process.stdout.write(`${this.values.json === true ? json(value) : text}\n`);
  }

  /** For people, beside the answer. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** @throws Refusal, UsageError */
  async confirm(question: string): Promise<void> {
    if (this.values.yes === true) return;
    if (!process.stdin.isTTY) {
      throw new UsageError('There is nobody to ask. Add --yes to do it all the same.');
    }
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const closed = once(terminal, 'close').then(() => '');
    // Ctrl-C and Ctrl-D close it, and abort the question in some versions of Node
    const asked = terminal.question(`${printable(question)} [y/N] `).catch(() => '');
    const reply = await Promise.race([asked, closed]);
    terminal.close();
    if (!/^y(es)?$/i.test(reply.trim())) {
      throw new Refusal('Nothing was changed.');
    }
  }
}

/** What the database said is kept beneath, and only where it was asked for a table. */
function isTableMissing(error: unknown): error is IdempotencyError {
  return (
    error instanceof IdempotencyError &&
    error.code === 'IDEMPOTENCY_MISCONFIGURED' &&
    error.cause !== undefined
  );
}

export function tableOptions({ table, schema }: Values): TableOptions {
  return { ...(table !== undefined && { table }), ...(schema !== undefined && { schema }) };
}
