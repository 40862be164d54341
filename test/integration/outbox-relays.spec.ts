import 'reflect-metadata';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import { availableDialects, type TestDialect } from '../support/databases.js';
import type { Relay } from '../support/outbox-relay.js';
import { openOutboxStage, soon, type OutboxApp, type OutboxStage } from '../support/outbox.js';
import { startProgram } from '../support/program.js';

beforeAll(() => Logger.overrideLogger(false));

interface Report {
  readonly id: string;
  readonly payload: unknown;
  readonly attempt: number;
  readonly pid: number;
}

// the driver of MySQL sends the statements of MariaDB
const shared = availableDialects().filter((it) => it !== 'sqlite' && it !== 'mysql');

/** Relays in processes of their own, over a stage of their own. */
class Relays {
  readonly reports: Report[] = [];
  private readonly children: ChildProcess[] = [];

  private constructor(
    readonly stage: OutboxStage,
    readonly writer: OutboxApp,
  ) {}

  static async on(dialect: TestDialect): Promise<Relays> {
    const stage = await openOutboxStage(dialect);
    return new Relays(stage, await stage.start({ relay: false }));
  }

  async start({ lease = 2_000, max = 10 } = {}): Promise<ChildProcess> {
    const relay: Relay = { dataSource: this.stage.database.options, lease, max };
    const child = startProgram('outbox-relay', relay);
    this.children.push(child);
    await new Promise<void>((ready) => {
      child.on('message', (report: Omit<Report, 'pid'> | 'ready') => {
        if (report === 'ready') ready();
        else this.reports.push({ ...report, pid: child.pid! });
      });
    });
    return child;
  }

  async kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async close(): Promise<void> {
    await Promise.all(this.children.map((child) => this.kill(child)));
    await this.stage.close();
  }
}

describe.each(shared)('relays in several processes on %s', (dialect) => {
  // beside each other: most of the time they wait, for leases and for processes that start
  const onRelays = (body: (relays: Relays) => Promise<void>) => async (): Promise<void> => {
    const relays = await Relays.on(dialect);
    await body(relays).finally(() => relays.close());
  };

  it.concurrent(
    'take over what one that was killed was sending, with the same id',
    onRelays(async (all) => {
      const { writer, reports } = all;
      const relays = await Promise.all([all.start(), all.start()]);
      const orderingKey = 'one';
      const id = await writer.outbox.emit('p', 'hang', { orderingKey });
      await writer.outbox.emit('p', 'behind', { orderingKey });
      await soon(() => expect(reports).toHaveLength(1));
      const [killed, other] =
        relays[0].pid === reports[0]!.pid ? relays : ([...relays].reverse() as typeof relays);
      await all.kill(killed);
      await soon(() => expect(reports).toHaveLength(2));
      expect(reports).toEqual([
        { id, payload: 'hang', attempt: 1, pid: killed.pid },
        { id, payload: 'hang', attempt: 2, pid: other.pid },
      ]);
    }),
  );

  it.concurrent(
    'park a message that kills them all',
    onRelays(async (all) => {
      const { writer, reports } = all;
      await writer.outbox.emit('p', 'hang');
      for (let n = 1; n <= 2; n += 1) {
        const relay = await all.start({ max: 2 });
        await soon(() => expect(reports).toHaveLength(n));
        await all.kill(relay);
      }
      await all.start({ max: 2 });
      await soon(async () =>
        expect(await writer.outbox.listParked()).toMatchObject([{ lastError: 'UnfinishedError' }]),
      );
      expect(reports).toHaveLength(2);
    }),
  );

  it.concurrent(
    'send each message once between them while none dies',
    onRelays(async (all) => {
      const { writer, reports, stage } = all;
      await Promise.all([all.start(), all.start()]);
      const ids = await Promise.all(
        Array.from({ length: 300 }, (_, n) => writer.outbox.emit('p', n)),
      );
      await soon(async () => expect(await stage.rows()).toEqual([]));
      await soon(() => expect(reports).toHaveLength(ids.length));
      expect(reports.map(({ id }) => id).sort()).toEqual([...ids].sort());
    }),
  );
});
