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

const SKU = 'sku-0';
const STOCK = 1_000;

/** One application in a process of its own. */
export interface Actor {
  readonly port: number;
  readonly process: ChildProcess;
}

/** Two applications on one database: one that is struck, and one that goes on. */
export class CrashStage {
  private readonly warm: ChildProcess[] = [];
  private readonly children: ChildProcess[] = [];
  private doomed: Actor | undefined;
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
    await observer.manager.insert(Stock, { sku: SKU, quantity: STOCK });
    const provider = startProgram(build.path, 'provider', []);
    const stage = new CrashStage(build, database, observer, provider, await portOf(provider));
    stage.children.push(provider);
    stage.warmUp();
    stage.warmUp();
    stage.other = await stage.start('fastify');
    return stage;
  }

  /** The application that is struck next; a new one after the last was killed. */
  async victim(): Promise<Actor> {
    this.doomed ??= await this.start('express');
    return this.doomed;
  }

  /** Whatever passes the point next is struck. `struck` resolves when that has happened. */
  async arm({ process: child }: Actor, strike: Strike): Promise<{ struck: Promise<void> }> {
    const armed = message(child, 'armed');
    const struck = message(child, 'struck').then(async () => {
      if (strike.action === 'SIGKILL') {
        await exitOf(child);
        this.doomed = undefined;
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

  /** After a case that failed: whoever was to be struck must not wait for it, or stand still, in the next one. */
  giveUp(): void {
    this.doomed?.process.kill('SIGKILL');
    this.doomed = undefined;
  }

  order({ port }: Actor, path: string, key: string, intent: Partial<Intent>): Promise<RawResponse> {
    const body: Intent = { sku: SKU, amount: 1, holdMs: 0, variant: 'A', ...intent };
    return send({ port }, { path, key, body, headers: [['x-tenant', 'one']] });
  }

  newKey(): string {
    return randomUUID();
  }

  /** What the payment provider knows of a key. */
  async charges(key: string): Promise<ChargeAttempt[]> {
    const response = await fetch(`http://127.0.0.1:${this.providerPort}/`);
    const attempts = (await response.json()) as ChargeAttempt[];
    return attempts.filter(({ intent }) => intent === intentName('one', key));
  }

  async ledger(key: string): Promise<LedgerEntry[]> {
    return this.observer.manager.findBy(LedgerEntry, { intent: intentName('one', key) });
  }

  /** How much of the stock is gone without a row in the ledger. */
  async lostStock(): Promise<number> {
    const { manager } = this.observer;
    const [{ quantity }, sold] = await Promise.all([
      manager.findOneByOrFail(Stock, { sku: SKU }),
      manager.sum(LedgerEntry, 'amount', { sku: SKU }),
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
