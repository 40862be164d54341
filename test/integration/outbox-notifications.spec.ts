import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { availableDialects } from '../support/databases.js';
import { openOutboxStage, soon, type OutboxApp, type OutboxStage } from '../support/outbox.js';

beforeAll(() => Logger.overrideLogger(false));

const postgres = availableDialects().filter((it) => it === 'postgres');

describe.each(postgres)('an outbox on %s', (dialect) => {
  let stage: OutboxStage;
  let writer: OutboxApp;

  beforeEach(async () => {
    stage = await openOutboxStage(dialect);
    writer = await stage.start({ relay: false });
    // nobody would find a message by looking before the test is over
    await stage.start({ pollInterval: '10m' });
    await soon(async () => expect(await listeners()).toHaveLength(1));
  });
  afterEach(() => stage.close());

  /** The backends that wait to be told. */
  const listeners = (): Promise<{ pid: number }[]> =>
    writer.dataSource.query(
      "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()",
    );

  it('wakes the relay of another application when a message is written', async () => {
    await writer.outbox.emit('p', 'one');
    await soon(() => expect(stage.sent).toHaveLength(1));
  });

  it('wakes it when the transaction of a message is committed', async () => {
    await writer.dataSource.transaction(async (manager) => {
      await writer.outbox.emit('p', 'one', { manager });
    });
    await soon(() => expect(stage.sent).toHaveLength(1));
  });

  it('tells again after the connections for that were lost', async () => {
    const [listener] = await listeners();
    await writer.dataSource.query('SELECT pg_terminate_backend($1)', [listener?.pid]);
    await soon(async () => {
      const [another] = await listeners();
      expect(another?.pid).toEqual(expect.any(Number));
      expect(another?.pid).not.toBe(listener?.pid);
    });
    await writer.outbox.emit('p', 'one');
    await soon(() => expect(stage.sent).toHaveLength(1));
  });
});
