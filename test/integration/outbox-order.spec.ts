import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { availableDialects } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { openOutboxStage, soon, type OutboxStage } from '../support/outbox.js';

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
    // another key waits for nobody
    await other.outbox.emit('p', 'beside', { orderingKey: 'order-2' });
    await soon(() => expect(payloads()).toEqual(['beside']));
    expect(isWritten).toBe(false);
    gate.open();
    await Promise.all([early, late]);
    await soon(() => expect(payloads()).toEqual(['beside', 'early', 'late']));
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
    gate.open();
    await Promise.all([early, late]);
    await soon(() => expect(payloads()).toEqual(['early', 'late']));
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
