import 'reflect-metadata';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import { availableDialects } from '../support/databases.js';
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

describe.each(shared)('relays in several processes on %s', (dialect) => {
  let stage: OutboxStage;
  let writer: OutboxApp;
  const reports: Report[] = [];
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    reports.length = 0;
    stage = await openOutboxStage(dialect);
    writer = await stage.start({ relay: false });
  });
  afterEach(async () => {
    await Promise.all(
      children.splice(0).map(async (child) => {
        if (child.exitCode === null && child.signalCode === null) {
          child.kill('SIGKILL');
          await once(child, 'exit');
        }
      }),
    );
    await stage.close();
  });

  const start = async ({ lease = 2_000, max = 10 } = {}): Promise<ChildProcess> => {
    const relay: Relay = { dataSource: stage.database.options, lease, max };
    const child = startProgram('outbox-relay', relay);
    children.push(child);
    await new Promise<void>((ready) => {
      child.on('message', (report: Omit<Report, 'pid'> | 'ready') => {
        if (report === 'ready') ready();
        else reports.push({ ...report, pid: child.pid! });
      });
    });
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };

  it('take over what one that was killed was sending, with the same id', async () => {
    const relays = await Promise.all([start(), start()]);
    const orderingKey = 'one';
    const id = await writer.outbox.emit('p', 'hang', { orderingKey });
    await writer.outbox.emit('p', 'behind', { orderingKey });
    await soon(() => expect(reports).toHaveLength(1));
    const [killed, other] =
      relays[0].pid === reports[0]!.pid ? relays : ([...relays].reverse() as typeof relays);
    await kill(killed);
    await soon(() => expect(reports).toHaveLength(2));
    expect(reports).toEqual([
      { id, payload: 'hang', attempt: 1, pid: killed.pid },
      { id, payload: 'hang', attempt: 2, pid: other.pid },
    ]);
  });

  it('park a message that kills them all', async () => {
    await writer.outbox.emit('p', 'hang');
    for (let n = 1; n <= 2; n += 1) {
      const relay = await start({ max: 2 });
      await soon(() => expect(reports).toHaveLength(n));
      await kill(relay);
    }
    await start({ max: 2 });
    await soon(async () =>
      expect(await writer.outbox.listParked()).toMatchObject([{ lastError: 'UnfinishedError' }]),
    );
    expect(reports).toHaveLength(2);
  });

  it('send each message once between them while none dies', async () => {
    await Promise.all([start(), start()]);
    const ids = await Promise.all(
      Array.from({ length: 300 }, (_, n) => writer.outbox.emit('p', n)),
    );
    await soon(async () => expect(await stage.rows()).toEqual([]));
    await soon(() => expect(reports).toHaveLength(ids.length));
    expect(reports.map(({ id }) => id).sort()).toEqual([...ids].sort());
  });
});
