import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import type { OutboxHooks } from 'nestjs-idempotency/outbox';
import { availableDialects } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { openOutboxStage, soon, type OutboxApp, type OutboxStage } from '../support/outbox.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(availableDialects())('the outbox on %s', (dialect) => {
  let stage: OutboxStage;
  const patterns = () => stage.sent.map(({ pattern }) => pattern);
  const payloads = () => stage.sent.map(({ payload }) => payload);
  const isEmpty = () => soon(async () => expect(await stage.rows()).toEqual([]));

  beforeEach(async () => {
    stage = await openOutboxStage(dialect);
  });
  afterEach(() => stage.close());

  describe('a message of a transactional operation', () => {
    it('is sent when the operation is committed, and not before', async () => {
      const { service, entries } = await stage.start();
      const id = await service.execute({ key: 'k1', mode: 'transactional' }, async (once) => {
        await entries.insert({ name: 'a' });
        const written = await once.outbox.emit(
          'order.placed',
          { order: 1, at: null },
          {
            headers: { trace: 'é' },
          },
        );
        expect(stage.sent).toEqual([]);
        return written;
      });
      await isEmpty();
      expect(stage.sent).toEqual([
        {
          id,
          pattern: 'order.placed',
          payload: { order: 1, at: null },
          headers: { trace: 'é' },
          orderingKey: undefined,
          attempt: 1,
          createdAt: expect.any(Date),
        },
      ]);
      expect(id).toMatch(/^[0-9a-f]{32}$/);
      expect(Math.abs(Date.now() - stage.sent[0]!.createdAt.getTime())).toBeLessThan(10_000);
    });

    it('is gone with it when it is rolled back', async () => {
      const { service, entries } = await stage.start();
      const failing = service.execute({ key: 'k1', mode: 'transactional' }, async (once) => {
        await entries.insert({ name: 'a' });
        await once.outbox.emit('order.placed', 1);
        throw new Error('told to fail');
      });
      await expect(failing).rejects.toThrow('told to fail');
      expect(await stage.rows()).toEqual([]);
      await service.execute({ key: 'k2', mode: 'transactional' }, (once) =>
        once.outbox.emit('other', 2),
      );
      await isEmpty();
      expect(patterns()).toEqual(['other']);
    });

    it('is gone with a part of it that is rolled back alone', async () => {
      const { service, dataSource } = await stage.start();
      await service.execute({ key: 'k1', mode: 'transactional' }, async (once) => {
        const part = dataSource.transaction(async () => {
          await once.outbox.emit('undone', 1);
          throw new Error('told to fail');
        });
        await expect(part).rejects.toThrow('told to fail');
        await once.outbox.emit('kept', 2);
      });
      await isEmpty();
      expect(patterns()).toEqual(['kept']);
    });

    it('does not go with a part beside it that is rolled back', async () => {
      const { service, dataSource } = await stage.start({ relay: false });
      await service.execute({ key: 'k', mode: 'transactional' }, async (once) => {
        const part = dataSource.transaction(async (manager) => {
          await manager.query('SELECT 1');
          throw new Error('only this part');
        });
        await Promise.allSettled([part, once.outbox.emit('p', 1)]);
      });
      expect(await stage.rows()).toHaveLength(1);
    });

    it('of a step is undone with its attempt, and the step runs again', async () => {
      const { service } = await stage.start({ relay: false });
      let runs = 0;
      const attempt = () =>
        service.execute({ key: 'k', mode: 'transactional' }, async (once) => {
          await once.step('tell', async () => void (await once.outbox.emit('p', 1)));
          runs += 1;
          if (runs === 1) throw new Error('after the step');
        });
      await expect(attempt()).rejects.toThrow('after the step');
      await attempt();
      expect(await stage.rows()).toHaveLength(1);
    });

    it('of many items at once is asked whose it is', async () => {
      const { service, outbox } = await stage.start({ relay: false });
      const batch = service.executeBatch({ items: ['a', 'b'], key: (item) => item }, async () => {
        await outbox.emit('p', 1);
        return [1, 2];
      });
      await expect(batch).rejects.toThrow('item.once.outbox.emit');
      expect(await stage.rows()).toEqual([]);
    });

    it('has the same id in every run of its key', async () => {
      const { service } = await stage.start();
      const ids: string[][] = [];
      const run = (fails: boolean) =>
        service.execute({ key: 'k1', mode: 'transactional' }, async (once) => {
          ids.push([
            await once.outbox.emit('a', 1),
            await once.outbox.emit('a', 2),
            await once.outbox.emit('b', 3),
          ]);
          if (fails) throw new Error('told to fail');
        });
      await expect(run(true)).rejects.toThrow('told to fail');
      await run(false);
      expect(ids[0]).toEqual(ids[1]);
      expect(new Set(ids[0]).size).toBe(3);
      await isEmpty();
      expect(stage.sent.map(({ id }) => id).sort()).toEqual([...ids[0]!].sort());
    });
  });

  describe('a message of an operation with a lease', () => {
    it('is written at once, and once over all its attempts', async () => {
      const { service } = await stage.start({ relay: false });
      const run = (fails: boolean) =>
        service.execute({ key: 'k1' }, async (once) => {
          await once.outbox.emit('order.placed', { order: 1 });
          if (fails) throw new Error('told to fail');
        });
      await expect(run(true)).rejects.toThrow('told to fail');
      expect(await stage.rows()).toHaveLength(1);
      await run(false);
      expect(await stage.rows()).toHaveLength(1);
    });

    it('is not taken for one of a finished step that a retry skips', async () => {
      const { service } = await stage.start();
      const run = (fails: boolean) =>
        service.execute({ key: 'k1' }, async (once) => {
          await once.step('first', () => once.outbox.emit('sent', 'first'));
          if (fails) throw new Error('told to fail');
          await once.outbox.emit('sent', 'second');
        });
      await expect(run(true)).rejects.toThrow('told to fail');
      await run(false);
      await isEmpty();
      expect(payloads()).toEqual(['first', 'second']);
    });

    it('is a part of its once.transaction()', async () => {
      const { service, entries } = await stage.start();
      const failing = service.execute({ key: 'k1' }, async (once) => {
        await once.transaction('kept', async () => {
          await entries.insert({ name: 'kept' });
          await once.outbox.emit('kept', 1);
        });
        await once.transaction('undone', async () => {
          await once.outbox.emit('undone', 1);
          throw new Error('told to fail');
        });
      });
      await expect(failing).rejects.toThrow('told to fail');
      await isEmpty();
      expect(patterns()).toEqual(['kept']);
    });

    it('is refused when the operation is over', async () => {
      const { service } = await stage.start();
      const once = await service.execute({ key: 'k1' }, (given) => Promise.resolve([given]));
      await expect(once[0]!.outbox.emit('late', 1)).rejects.toMatchObject({
        code: 'IDEMPOTENCY_MISCONFIGURED',
      });
    });
  });

  describe('a message of the application', () => {
    it('is a part of the transaction whose manager it is given', async () => {
      const { outbox, dataSource } = await stage.start();
      const failing = dataSource.transaction(async (manager) => {
        await outbox.emit('undone', 1, { manager, orderingKey: 'o' });
        throw new Error('told to fail');
      });
      await expect(failing).rejects.toThrow('told to fail');
      await dataSource.transaction(async (manager) => {
        await outbox.emit('kept', 2, { manager, orderingKey: 'o' });
      });
      await isEmpty();
      expect(patterns()).toEqual(['kept']);
    });

    it('is written by itself elsewhere, with a random id or its own', async () => {
      const { outbox } = await stage.start();
      const ids = [
        await outbox.emit('a', 1),
        await outbox.emit('b', 2, { orderingKey: 'o' }),
        await outbox.emit('c', 3, { id: 'order-42' }),
      ];
      await isEmpty();
      expect(stage.sent.map(({ id }) => id).sort()).toEqual([...ids].sort());
      expect(ids[2]).toBe('order-42');
    });

    it('is one of its operation inside of one', async () => {
      const { outbox, service } = await stage.start();
      const failing = service.execute({ key: 'k1', mode: 'transactional' }, async () => {
        await outbox.emit('undone', 1);
        throw new Error('told to fail');
      });
      await expect(failing).rejects.toThrow('told to fail');
      expect(await stage.rows()).toEqual([]);
    });

    it('keeps every character of its pattern, payload and ordering key', async () => {
      const { outbox } = await stage.start();
      const text = `ü€😀 '"\\\`?$1 ;--\n`;
      await outbox.emit(text, { text }, { orderingKey: text, headers: { text } });
      await isEmpty();
      expect(stage.sent[0]).toMatchObject({
        pattern: text,
        payload: { text },
        orderingKey: text,
        headers: { text },
      });
    });
  });

  it('sends a delayed message later', async () => {
    const { outbox } = await stage.start();
    const writtenAt = performance.now();
    await outbox.emit('late', 1, { delay: 400 });
    await outbox.emit('now', 2);
    await soon(() => expect(patterns()).toEqual(['now', 'late']));
    expect(performance.now() - writtenAt).toBeGreaterThan(350);
  });

  it('goes on at once when a message is committed, long before it would look again', async () => {
    const { outbox, dataSource, service } = await stage.start({ pollInterval: '1h' });
    await outbox.emit('alone', 1);
    await soon(() => expect(patterns()).toEqual(['alone']));
    await dataSource.transaction((manager) => outbox.emit('manager', 2, { manager }));
    await soon(() => expect(patterns()).toEqual(['alone', 'manager']));
    await service.execute({ key: 'k', mode: 'transactional' }, () => outbox.emit('operation', 3));
    await soon(() => expect(patterns()).toEqual(['alone', 'manager', 'operation']));
  });

  describe('a sink that fails', () => {
    const failures: string[] = [];
    const hooks = {
      onSent: ({ pattern, attempt }) => void failures.push(`sent ${pattern} ${attempt}`),
      onFailed: ({ pattern, attempt }) => void failures.push(`failed ${pattern} ${attempt}`),
      onParked: ({ pattern, attempt }) => void failures.push(`parked ${pattern} ${attempt}`),
    } satisfies OutboxHooks;
    let broken = true;
    const sink = (message: { pattern: string }) => {
      if (broken)
        throw Object.assign(new TypeError(`secret of ${message.pattern}`), { code: 'EFAIL' });
    };
    let app: OutboxApp;

    beforeEach(async () => {
      failures.length = 0;
      broken = true;
      app = await stage.start({
        sinks: { default: sink },
        attempts: { max: 3, backoff: 20 },
        hooks,
      });
    });

    it('is given the message again, until it is parked with the kind of its last error', async () => {
      const id = await app.outbox.emit('poison', { secret: 1 });
      await soon(async () => expect(await app.outbox.listParked()).toHaveLength(1));
      await soon(() =>
        expect(failures).toEqual(['failed poison 1', 'failed poison 2', 'parked poison 3']),
      );
      expect(await app.outbox.listParked()).toEqual([
        {
          position: expect.stringMatching(/^\d+$/),
          id,
          pattern: 'poison',
          sink: 'default',
          orderingKey: undefined,
          attempts: 3,
          lastError: 'TypeError EFAIL',
          createdAt: expect.any(Date),
        },
      ]);
    });

    it('takes a parked message that is driven again', async () => {
      const id = await app.outbox.emit('poison', 1);
      await soon(async () => expect(await app.outbox.listParked()).toHaveLength(1));
      broken = false;
      expect(await app.outbox.redrive(id)).toBe(true);
      await isEmpty();
      expect(await app.outbox.redrive(id)).toBe(false);
      await soon(() => expect(failures.at(-1)).toBe('sent poison 1'));
    });

    it('is spared a parked message that is discarded, and gets those behind it', async () => {
      const orderingKey = 'order-1';
      const id = await app.outbox.emit('poison', 1, { orderingKey });
      await soon(async () => expect(await app.outbox.listParked()).toHaveLength(1));
      broken = false;
      await app.outbox.emit('behind', 2, { orderingKey });
      await app.outbox.emit('beside', 3);
      await soon(() => expect(failures).toContain('sent beside 1'));
      await soon(async () => expect(await stage.rows()).toHaveLength(2));
      expect(await app.outbox.discard(id)).toBe(true);
      await isEmpty();
      await soon(() => expect(failures).toContain('sent behind 1'));
      expect(await app.outbox.discard(id)).toBe(false);
    });

    it('shows parked messages page by page', async () => {
      for (const pattern of ['a', 'b', 'c']) await app.outbox.emit(pattern, 1);
      await soon(async () => expect(await app.outbox.listParked()).toHaveLength(3));
      const first = await app.outbox.listParked({ limit: 2 });
      const second = await app.outbox.listParked({ limit: 2, after: first[1]!.position });
      expect([...first, ...second].map(({ pattern }) => pattern)).toEqual(['a', 'b', 'c']);
    });
  });

  it('sends messages of one ordering key one at a time, in order, past failures', async () => {
    let running = 0;
    let most = 0;
    const seen: unknown[] = [];
    const sink = async ({ payload, attempt }: { payload: unknown; attempt: number }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (payload === 2 && attempt < 3) throw new Error('not yet');
      seen.push(payload);
    };
    const { outbox } = await stage.start({
      sinks: { default: sink },
      attempts: { backoff: 10 },
      pollInterval: 20,
    });
    for (let n = 1; n <= 6; n += 1) await outbox.emit('p', n, { orderingKey: 'one' });
    await isEmpty();
    expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
    expect(most).toBe(1);
  });

  it('keeps sent rows for as long as it was told, and then deletes them', async () => {
    const { outbox } = await stage.start({ keepSent: 300 });
    await outbox.emit('a', 1, { orderingKey: 'k' });
    await outbox.emit('b', 1, { orderingKey: 'k' });
    await soon(() => expect(patterns()).toEqual(['a', 'b']));
    expect((await stage.rows()).map(({ id }) => id)).toHaveLength(2);
    await isEmpty();
    expect(patterns()).toEqual(['a', 'b']);
  });

  it('waits for what is on its way when the application closes', async () => {
    const gate = new TestGate();
    const { outbox, app } = await stage.start({
      sinks: { default: () => gate.pass() },
    });
    await outbox.emit('slow', 1);
    await gate.reached;
    const closing = app.close();
    gate.open();
    await closing;
    expect(await stage.rows()).toEqual([]);
  });

  it('gives back at once what its sink does not finish before the application closes', async () => {
    const gate = new TestGate();
    const first = await stage.start({
      sinks: { default: () => gate.pass() },
      shutdownTimeout: 50,
    });
    const id = await first.outbox.emit('slow', 1);
    await gate.reached;
    await first.app.close();
    await stage.start();
    await soon(() => expect(stage.sent.map((message) => message.id)).toEqual([id]));
  });

  it('starts once, however often the application initialises', async () => {
    const { app, outbox } = await stage.start();
    await app.init();
    await outbox.emit('a', 1);
    await isEmpty();
    expect(patterns()).toEqual(['a']);
  });
});
