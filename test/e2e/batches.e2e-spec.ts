import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { IdempotencyService, type BatchFresh, type BatchOptions } from 'nestjs-idempotency';
import type { DataSource } from 'typeorm';
import { TestGate } from '../support/gate.js';
import { availableStores, startServiceApp, type ServiceApp } from '../support/service-app.js';

beforeAll(() => Logger.overrideLogger(false));

type Fresh = readonly BatchFresh<string>[];

describe.each(availableStores('memory', 'sqlite', 'postgres', 'mariadb'))(
  'executeBatch() over %s',
  (dialect) => {
    let dataSource: DataSource | undefined;
    let stage: ServiceApp;
    let service: IdempotencyService;
    let tests = 0;
    let seen: string[][] = [];

    beforeAll(async () => {
      stage = await startServiceApp(dialect);
      ({ service, dataSource } = stage);
      await dataSource?.query('CREATE TABLE effect (item VARCHAR(100) NOT NULL)');
    });
    afterAll(() => stage.close());
    beforeEach(() => {
      tests += 1;
      seen = [];
    });

    const options = (
      items: readonly string[],
      more: Partial<BatchOptions<string>> = {},
    ): BatchOptions<string> & { each?: false } => ({
      items,
      key: (item) => `${tests} ${item}`,
      ...(more as { each?: false }),
    });
    const work = async (fresh: Fresh): Promise<string[]> => {
      seen.push(fresh.map(({ item }) => item));
      return fresh.map(({ item, once }) => `${item} by ${once.attempt}`);
    };
    const stateOf = async (item: string) =>
      (await service.find({ key: `${tests} ${item}` }))?.state ?? 'none';
    const code = (error: { code?: string; message: string }) => error.code ?? error.message;

    it('runs all at once, and then replays them in any order', async () => {
      const items = ['a', 'b', 'c'];
      expect(await service.executeBatch(options(items), work)).toEqual([
        'a by 1',
        'b by 1',
        'c by 1',
      ]);
      expect(await service.executeBatch(options(['c', 'a']), work)).toEqual(['c by 1', 'a by 1']);
      expect(seen).toEqual([items]);
    });

    it('runs what is fresh only, and aligns the results', async () => {
      await service.executeBatch(options(['b', 'd']), work);
      const results = await service.executeBatch(options(['a', 'b', 'c', 'd', 'e']), work);
      expect(results).toEqual(['a by 1', 'b by 1', 'c by 1', 'd by 1', 'e by 1']);
      expect(seen.at(-1)).toEqual(['a', 'c', 'e']);
    });

    it('takes items with one key for one', async () => {
      const results = await service.executeBatch(options(['a', 'b', 'a']), work);
      expect(results).toEqual(['a by 1', 'b by 1', 'a by 1']);
      expect(seen).toEqual([['a', 'b']]);
    });

    it('refuses items with one key and other payloads', async () => {
      const batch = options(['a', 'b'], { key: () => `${tests}`, payload: (item: string) => item });
      await expect(service.executeBatch(batch, work)).rejects.toMatchObject({
        code: 'IDEMPOTENCY_KEY_REUSED',
      });
      expect(seen).toEqual([]);
    });

    it('runs all of them again when they failed', async () => {
      const failing = service.executeBatch(options(['a', 'b']), async () => {
        throw new Error('not now');
      });
      await expect(failing).rejects.toThrow('not now');
      expect([await stateOf('a'), await stateOf('b')]).toEqual(['none', 'none']);
      const results = await service.executeBatch(options(['a', 'b', 'c']), work);
      expect(results).toEqual(['a by 2', 'b by 2', 'c by 1']);
    });

    it.each([[['a']], [[]], ['ab'], [undefined]])(
      'takes %j for no answer, and lets all of them run again',
      async (answer) => {
        const batch = service.executeBatch(options(['a', 'b']), async () => answer as string[]);
        await expect(batch).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
        expect([await stateOf('a'), await stateOf('b')]).toEqual(['none', 'none']);
      },
    );

    it('runs nothing while one is in flight elsewhere, and gives the others back', async () => {
      const gate = new TestGate();
      const elsewhere = service.execute({ key: `${tests} b` }, async () => {
        await gate.pass();
        return 'b elsewhere';
      });
      await gate.reached;
      const batch = service.executeBatch(options(['a', 'b', 'c']), work);
      expect(await batch.catch(code)).toBe('IDEMPOTENCY_IN_PROGRESS');
      expect(seen).toEqual([]);
      expect([await stateOf('a'), await stateOf('c')]).toEqual(['none', 'none']);

      const waiting = service.executeBatch(
        options(['a', 'b', 'c'], { onConcurrent: 'wait' }),
        (fresh) => {
          gate.open();
          return work(fresh);
        },
      );
      expect(await waiting).toEqual(['a by 1', 'b elsewhere', 'c by 1']);
      expect(await elsewhere).toBe('b elsewhere');
    });

    it('of two at once each item is run once', async () => {
      const items = Array.from({ length: 30 }, (_, n) => `item ${n}`);
      const wait = { onConcurrent: 'wait' } as const;
      const all = await Promise.all(
        [items, items.toReversed(), items].map((batch) =>
          service.executeBatch(options(batch, wait), work),
        ),
      );
      expect(seen.flat().toSorted()).toEqual(items.toSorted());
      expect(all[1]!.toReversed()).toEqual(all[0]);
    });

    it('settles items one by one with each', async () => {
      const batch = { ...options(['a', 'b', 'c']), each: true as const };
      const results = await service.executeBatch(batch, async (fresh) => {
        if (fresh[0]!.item === 'b') throw new Error('b fails');
        return work(fresh);
      });
      expect(results).toEqual([
        { status: 'fulfilled', value: 'a by 1' },
        { status: 'rejected', reason: new Error('b fails') },
        { status: 'fulfilled', value: 'c by 1' },
      ]);
      expect(seen).toEqual([['a'], ['c']]);
      const again = await service.executeBatch(batch, work);
      expect(again[1]).toEqual({ status: 'fulfilled', value: 'b by 2' });
      expect(seen.at(-1)).toEqual(['b']);
    });

    it('runs nothing of nothing', async () => {
      expect(await service.executeBatch(options([]), work)).toEqual([]);
      expect(seen).toEqual([]);
    });

    it.each([
      [{ items: 'abc' }, /option 'items' is 'abc'/],
      [{ items: Array.from({ length: 1_001 }, () => 'x') }, /1001 items.*at most 1000/],
      [{ key: 'k' }, /option 'key' is 'k'/],
      [{ each: 'yes' }, /option 'each' is 'yes'/],
      [{ attempts: { max: 1 } }, /'attempts' would park every item/],
    ])('refuses %#', async (wrong, sentence) => {
      const batch = { ...options(['a']), ...wrong } as ReturnType<typeof options>;
      await expect(service.executeBatch(batch, work)).rejects.toThrow(sentence);
    });

    if (dialect !== 'memory') {
      describe('in one transaction', () => {
        const effects = async () => {
          const rows: { item: string }[] = await dataSource!.query(
            `SELECT item FROM effect WHERE item LIKE '${tests} %' ORDER BY item`,
          );
          return rows.map(({ item }) => item);
        };
        const write = async (fresh: Fresh): Promise<string[]> => {
          for (const { item } of fresh) {
            await dataSource!.query(`INSERT INTO effect (item) VALUES ('${tests} ${item}')`);
          }
          return work(fresh);
        };
        const transactional = { mode: 'transactional' } as const;

        it('commits effects and records together', async () => {
          await service.executeBatch(options(['b'], transactional), write);
          const batch = options(['a', 'b', 'c'], transactional);
          expect((await service.executeBatch(batch, write)).map((text) => text[0])).toEqual([
            'a',
            'b',
            'c',
          ]);
          expect(await effects()).toEqual(['a', 'b', 'c'].map((item) => `${tests} ${item}`));
          expect(await service.executeBatch(batch, write)).toHaveLength(3);
          expect(await effects()).toHaveLength(3);
          expect(seen).toHaveLength(2);
        });

        it('undoes all of them together', async () => {
          const batch = options(['a', 'b', 'c'], transactional);
          const failing = service.executeBatch(batch, async (fresh) => {
            await write(fresh);
            throw new Error('undo');
          });
          await expect(failing).rejects.toThrow('undo');
          expect(await effects()).toEqual([]);
          expect(await stateOf('a')).toBe('none');
          await service.executeBatch(batch, write);
          expect(await effects()).toHaveLength(3);
        });
      });
    }
  },
);
