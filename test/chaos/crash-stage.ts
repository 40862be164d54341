import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { DataSource } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { eventually, send, type RawResponse } from '../support/http.js';
import { LedgerEntry, Stock } from './app/entities.js';
import { intentName, type AppCommand, type Intent, type Strike } from './app/options.js';
import type { ChargeAttempt } from './app/provider.js';
import { buildApplications } from './build.js';
import type { TemporaryFolder } from './temporary.js';
import { exitOf, portOf, startProgram } from './fleet.js';

const STOCK = 1_000;

/** One application in a process of its own. */
export interface Actor {
  readonly port: number;
  readonly process: ChildProcess;
}

/** What one case is about: an operation, and an article that nobody else sells. */
export interface Order {
  readonly key: string;
  readonly sku: string;
}

/** Applications on one database: one for each case at a time that is struck, and one that goes on. */
export class CrashStage {
  private readonly warm: ChildProcess[] = [];
  private readonly children: ChildProcess[] = [];
  private readonly unhurt: Actor[] = [];
  private orders = 0;
  other!: Actor;

  private constructor(
    private readonly build: TemporaryFolder,
    private readonly database: TestDatabase,
    readonly observer: DataSource,
    private readonly provider: ChildProcess,
    private readonly providerPort: number,
  ) {}

  static async open(dialect: TestDialect): Promise<CrashStage> {
    const build = await buildApplications();
    const database = await createTestDatabase(dialect);
    const observer = await database.open({ synchronize: true, entities: [Stock, LedgerEntry] });
    await new TypeOrmStore(observer).init();
    const provider = startProgram(build.path, 'provider', []);
    const stage = new CrashStage(build, database, observer, provider, await portOf(provider));
    stage.children.push(provider);
    stage.warmUp();
    stage.warmUp();
    stage.other = await stage.start('fastify');
    return stage;
  }

  /** An application to strike, which is nobody else's until it is kept. */
  async victim(): Promise<Actor> {
    return this.unhurt.pop() ?? this.start('express');
  }

  /** After a case that went well: who has survived it can be struck again. */
  keep(victim: Actor): void {
    const { exitCode, signalCode } = victim.process;
    if (exitCode === null && signalCode === null) this.unhurt.push(victim);
  }

  /** Whatever passes the point next is struck. `struck` resolves when that has happened. */
  async arm({ process: child }: Actor, strike: Strike): Promise<{ struck: Promise<void> }> {
    const armed = message(child, 'armed');
    const struck = message(child, 'struck').then(async () => {
      if (strike.action === 'SIGKILL') {
        await exitOf(child);
      }
      if (strike.action === 'SIGSTOP') {
        // it says so before it stands still, and must not be woken before it does
        await eventually(() => standsStill(child), 'a process that stands still');
      }
    });
    child.send({ arm: strike } satisfies AppCommand);
    await armed;
    return { struck };
  }

  async newOrder(): Promise<Order> {
    const sku = `sku-${(this.orders += 1)}`;
    await this.observer.manager.insert(Stock, { sku, quantity: STOCK });
    return { key: randomUUID(), sku };
  }

  order(
    { port }: Actor,
    path: string,
    { key, sku }: Order,
    intent: Partial<Intent>,
  ): Promise<RawResponse> {
    const body: Intent = { sku, amount: 1, holdMs: 0, variant: 'A', ...intent };
    return send({ port }, { path, key, body, headers: [['x-tenant', 'one']] });
  }

  /** What the payment provider knows of a key. */
  async charges({ key }: Order): Promise<ChargeAttempt[]> {
    const response = await fetch(`http://127.0.0.1:${this.providerPort}/`);
    const attempts = (await response.json()) as ChargeAttempt[];
    return attempts.filter(({ intent }) => intent === intentName('one', key));
  }

  async ledger({ key }: Order): Promise<LedgerEntry[]> {
    return this.observer.manager.findBy(LedgerEntry, { intent: intentName('one', key) });
  }

  /** How much of the stock is gone without a row in the ledger. */
  async lostStock({ sku }: Order): Promise<number> {
    const { manager } = this.observer;
    const [{ quantity }, sold] = await Promise.all([
      manager.findOneByOrFail(Stock, { sku }),
      manager.sum(LedgerEntry, 'amount', { sku }),
    ]);
    return STOCK - quantity - Number(sold);
  }

  async close(): Promise<void> {
    this.children.forEach((child) => child.kill('SIGKILL'));
    await Promise.all(this.children.map(exitOf));
    await this.database.drop();
    await this.build.remove();
  }

  private warmUp(): void {
    const child = startProgram(this.build.path, 'main', []);
    this.children.push(child);
    this.warm.push(child);
  }

  private async start(platform: 'express' | 'fastify'): Promise<Actor> {
    const child = this.warm.shift() as ChildProcess;
    this.warmUp();
    const { providerPort } = this;
    const start = { platform, dataSource: this.database.options, providerPort };
    child.send({ start } satisfies AppCommand);
    return { process: child, port: await portOf(child) };
  }
}

/** As far as the system tells: only Linux does in a file. */
async function standsStill({ pid }: ChildProcess): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') T');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
}

function message(child: ChildProcess, expected: string): Promise<void> {
  return new Promise((resolve) => {
    const listen = (said: unknown): void => {
      if (said === expected) {
        child.off('message', listen);
        resolve();
      }
    };
    child.on('message', listen);
  });
}
