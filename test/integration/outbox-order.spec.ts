import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { availableDialects } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { openOutboxStage, soon, type OutboxApp, type OutboxStage } from '../support/outbox.js';

beforeAll(() => Logger.overrideLogger(false));

// SQLite has one writer at a time, whose number is drawn under its lock
const servers = availableDialects().filter((dialect) => !dialect.startsWith('sqlite'));

describe.each(servers)('the order of messages on %s', (dialect) => {
  let stage: OutboxStage;
  const payloads = () => stage.sent.map(({ payload }) => payload);

  beforeEach(async () => {
    stage = await openOutboxStage(dialect);
  });
  afterEach(() => stage.close());

  /** Time enough for what does not wait, told by messages of other keys, which wait for nobody. */
  const besides = ['1', '2', '3', '4', '5'];
  const passTime = async ({ outbox }: OutboxApp): Promise<void> => {
    for (const n of besides) await outbox.emit('p', n, { orderingKey: `beside-${n}` });
    await soon(() => expect(payloads()).toEqual(expect.arrayContaining(besides)));
  };

  it('is kept when the earlier writer of an ordering key commits late', async () => {
    const { outbox, dataSource } = await stage.start();
    const other = await stage.start();
    const gate = new TestGate();
    const orderingKey = 'order-1';
    const early = dataSource.transaction(async (manager) => {
      await outbox.emit('p', 'early', { manager, orderingKey });
      await gate.pass();
    });
    await gate.reached;
    let isWritten = false;
    const late = other.outbox.emit('p', 'late', { orderingKey }).then(() => (isWritten = true));
    await passTime(other);
    expect(isWritten).toBe(false);
    gate.open();
    await Promise.all([early, late]);
    await soon(() => expect(payloads()).toContain('late'));
    expect(payloads().slice(-2)).toEqual(['early', 'late']);
  });

  it('is kept between transactional operations', async () => {
    const one = await stage.start();
    const two = await stage.start();
    const gate = new TestGate();
    const orderingKey = 'order-1';
    const early = one.service.execute({ key: 'k1', mode: 'transactional' }, async (once) => {
      await once.outbox.emit('p', 'early', { orderingKey });
      await gate.pass();
    });
    await gate.reached;
    const late = two.service.execute({ key: 'k2', mode: 'transactional' }, async (once) => {
      await once.outbox.emit('p', 'late', { orderingKey });
    });
    await passTime(two);
    gate.open();
    await Promise.all([early, late]);
    await soon(() => expect(payloads()).toContain('late'));
    expect(payloads().slice(-2)).toEqual(['early', 'late']);
  });

  it('keeps no relay waiting for a message that is not committed yet', async () => {
    const { outbox, dataSource } = await stage.start({ batchSize: 3 });
    const gate = new TestGate();
    await Promise.all(['a', 'b'].map((n) => outbox.emit('p', n)));
    const open = dataSource.transaction(async (manager) => {
      await outbox.emit('p', 'open', { manager });
      await gate.pass();
    });
    await gate.reached;
    await Promise.all(['c', 'd', 'e', 'f', 'g'].map((n) => outbox.emit('p', n)));
    await soon(async () => expect(await stage.rows()).toEqual([]));
    expect(payloads()).toHaveLength(7);
    gate.open();
    await open;
    await soon(() => expect(payloads()).toHaveLength(8));
  });

  it('is that of writing for many writers, keys and relays', async () => {
    const apps = [await stage.start(), await stage.start(), await stage.start()];
    const keys = ['a', 'b', 'c', 'd'];
    const written = new Map<string, string[]>(keys.map((key) => [key, []]));
    await Promise.all(
      keys.flatMap((orderingKey) =>
        apps.map(async ({ dataSource, outbox }, app) => {
          for (let n = 0; n < 8; n += 1) {
            await dataSource.transaction(async (manager) => {
              await outbox.emit('p', `${app}-${n}`, { manager, orderingKey });
              // under the lock of the key: the order in which they are committed
              written.get(orderingKey)!.push(`${app}-${n}`);
            });
          }
        }),
      ),
    );
    await soon(() => expect(stage.sent).toHaveLength(keys.length * 24));
    for (const key of keys) {
      const sent = stage.sent.filter(({ orderingKey }) => orderingKey === key);
      expect(sent.map(({ payload }) => payload)).toEqual(written.get(key));
    }
  });
});
