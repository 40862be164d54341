import 'reflect-metadata';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import {
  EntitySchema,
  EventSubscriber,
  type EntityManager,
  type EntitySubscriberInterface,
  type InsertEvent,
} from 'typeorm';
import { EntryEntity, ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

interface Order {
  id: number;
  name: string;
  lines: Line[];
  notes: Promise<Note[]>;
}
interface Line {
  id: number;
  name: string;
  order: Order;
}
interface Note {
  id: number;
  text: string;
  order: Order;
}

const OrderEntity = new EntitySchema<Order>({
  name: 'orders',
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: String } },
  relations: {
    lines: { type: 'one-to-many', target: 'line', inverseSide: 'order', cascade: true },
    notes: { type: 'one-to-many', target: 'note', inverseSide: 'order', cascade: true, lazy: true },
  },
});
const LineEntity = new EntitySchema<Line>({
  name: 'line',
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: String } },
  relations: { order: { type: 'many-to-one', target: 'orders', inverseSide: 'lines' } },
});
const NoteEntity = new EntitySchema<Note>({
  name: 'note',
  columns: { id: { type: Number, primary: true, generated: true }, text: { type: String } },
  relations: { order: { type: 'many-to-one', target: 'orders', inverseSide: 'notes' } },
});

/** Writes an entry beside each order, through the manager that it is handed. */
@EventSubscriber()
class Audit implements EntitySubscriberInterface<Order> {
  listenTo(): string {
    return 'orders';
  }
  async afterInsert({ entity, manager }: InsertEvent<Order>): Promise<void> {
    await manager.getRepository(EntryEntity).insert({ name: `audit-${entity.name}` });
  }
}

describe.each(ledgerPaths())('TypeORM in a transaction on %s, with a pool of one', (path) => {
  let ledger: Ledger;
  let key = '';
  let keys = 0;
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => void warnings.push(message);

  beforeAll(async () => {
    process.on('warning', onWarning);
    ledger = await openLedger(path, {
      extra: {
        entities: [EntryEntity, OrderEntity, LineEntity, NoteEntity],
        subscribers: [Audit],
        cache: true,
      },
    });
  });
  afterAll(async () => {
    await ledger.close();
    process.off('warning', onWarning);
  });
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });
  afterEach(async () => {
    // the one connection went back whole, and nobody used it twice at a time
    await ledger.service.execute({ key: `${key}-after` }, async () => {
      await ledger.entries.insert({ name: 'after' });
    });
    expect(await ledger.committed()).toContain('after');
    expect(warnings).toEqual([]);
  });

  const run = (work: () => Promise<unknown>): Promise<void> =>
    ledger.service.execute({ key }, async () => void (await work()));
  const insert = (manager: EntityManager, name: string) => manager.insert(EntryEntity, { name });
  const fail = async (manager: EntityManager, name: string): Promise<never> => {
    await insert(manager, name);
    // refused by the database, so that PostgreSQL accepts nothing until it is undone
    await insert(manager, name);
    throw new Error('not reached');
  };

  it('saves what hangs on an entity, and loads it, joined or lazily', async () => {
    const work = async () => {
      const orders = ledger.dataSource.getRepository(OrderEntity);
      const { id } = await orders.save({
        name: key,
        lines: [{ name: 'x' }, { name: 'y' }] as Line[],
      });
      await ledger.dataSource.getRepository(NoteEntity).save({ text: 'n', order: { id } });
      const [found] = await orders.find({ where: { id }, relations: { lines: true } });
      expect(found?.lines.map(({ name }) => name).sort()).toEqual(['x', 'y']);
      expect((await found!.notes).map(({ text }) => text)).toEqual(['n']);
      return id;
    };
    await expect(
      run(async () => {
        await work();
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    const orders = ledger.dataSource.getRepository(OrderEntity);
    expect(await orders.countBy({ name: key })).toBe(0);
    expect(await ledger.committed()).toEqual([]);
    await run(work);
    expect(await orders.countBy({ name: key })).toBe(1);
    expect(await ledger.committed()).toEqual([`audit-${key}`]);
  });

  it('loads lazily after the transaction in which the entity was found', async () => {
    await run(async () => {
      const order = await ledger.dataSource.transaction(async (manager) => {
        const { id } = await manager.save(OrderEntity, { name: key });
        await manager.save(NoteEntity, { text: 'n', order: { id } });
        return manager.findOneByOrFail(OrderEntity, { name: key });
      });
      expect((await order.notes).map(({ text }) => text)).toEqual(['n']);
    });
  });

  it('asks the query cache on its own connection', async () => {
    await run(async () => {
      await insert(ledger.dataSource.manager, 'a');
      const cached = () => ledger.entries.find({ cache: { id: key, milliseconds: 60_000 } });
      expect(await cached()).toHaveLength(1);
      expect(await cached()).toHaveLength(1);
    });
  });

  it('undoes parallel transactions that fail each alone', async () => {
    await run(async () => {
      const { dataSource } = ledger;
      const results = await Promise.allSettled([
        dataSource.transaction((manager) => fail(manager, 'a')),
        dataSource.transaction((manager) => insert(manager, 'b')),
        dataSource.transaction((manager) =>
          Promise.all([fail(manager, 'c'), insert(manager, 'd')]),
        ),
        dataSource.transaction(async (manager) => {
          await manager.transaction((inner) => fail(inner, 'e')).catch(() => undefined);
          await insert(manager, 'f');
        }),
      ]);
      expect(results.map(({ status }) => status[0]).join('')).toBe('rfrf');
    });
    expect(await ledger.committed()).toEqual(['b', 'f']);
  });

  it('runs transactions of query runners in parallel, one after the other', async () => {
    const byHand = async (name: string, commits: boolean) => {
      const runner = ledger.dataSource.createQueryRunner();
      await runner.connect();
      await runner.startTransaction();
      try {
        await insert(runner.manager, name);
        await (commits ? runner.commitTransaction() : runner.rollbackTransaction());
      } finally {
        await runner.release();
      }
    };
    await run(() =>
      Promise.all([
        byHand('a', true),
        byHand('b', false),
        insert(ledger.dataSource.manager, 'c'),
        ledger.dataSource.transaction((manager) => insert(manager, 'd')),
        byHand('e', true),
      ]),
    );
    expect(await ledger.committed()).toEqual(['a', 'c', 'd', 'e']);
  });

  it('nests transactions of one query runner, and keeps a manager of it inside', async () => {
    await run(async () => {
      const runner = ledger.dataSource.createQueryRunner();
      await runner.startTransaction();
      await insert(runner.manager, 'a');
      await runner.startTransaction();
      await insert(runner.manager, 'b');
      await runner.rollbackTransaction();
      await runner.manager.transaction((inner) => insert(inner, 'c'));
      await runner.commitTransaction();
      await runner.release();
    });
    expect(await ledger.committed()).toEqual(['a', 'c']);
  });

  it('undoes what a released query runner had not committed', async () => {
    await run(async () => {
      const runner = ledger.dataSource.createQueryRunner();
      await runner.startTransaction();
      await insert(runner.manager, 'a');
      await runner.release();
      await insert(ledger.dataSource.manager, 'b');
    });
    expect(await ledger.committed()).toEqual(['b']);
  });

  it('commits a query runner at the end of its block', async () => {
    await run(async () => {
      {
        await using runner = ledger.dataSource.createQueryRunner();
        await runner.startTransaction();
        await insert(runner.manager, 'a');
      }
      await insert(ledger.dataSource.manager, 'b');
    });
    expect(await ledger.committed()).toEqual(['a', 'b']);
  });

  it('runs what an outer manager is asked inside of an inner transaction inside of that', async () => {
    await run(async () => {
      await ledger.dataSource.transaction(async (outer) => {
        const failing = outer.transaction(async () => {
          await insert(outer, 'a');
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        await insert(outer, 'b');
      });
    });
    expect(await ledger.committed()).toEqual(['b']);
  });

  it('lets many queries at once take their turns', async () => {
    await run(async () => {
      const names = Array.from({ length: 30 }, (_, index) => `n-${index}`);
      await Promise.all(names.map((name) => insert(ledger.dataSource.manager, name)));
      const counts = await Promise.all(names.map(() => ledger.entries.count()));
      expect(new Set(counts)).toEqual(new Set([30]));
    });
    expect(await ledger.committed()).toHaveLength(30);
  });

  // it takes as long as the library is patient
  if (path === 'sqlite' || path === 'postgres') {
    it('says what to do when a query waits for a transaction that waits for it', async () => {
      await run(async () => {
        const runner = ledger.dataSource.createQueryRunner();
        await runner.startTransaction();
        await insert(runner.manager, 'a');
        await expect(insert(ledger.dataSource.manager, 'b')).rejects.toThrow(
          /begun on a query runner and is still open\. Run it on the manager of that query runner/,
        );
        await runner.commitTransaction();
        await runner.release();
      });
      expect(await ledger.committed()).toEqual(['a']);
    });
  }

  if (path === 'mariadb') {
    it('streams rows while other queries wait', async () => {
      await run(async () => {
        await ledger.entries.insert([{ name: 'a' }, { name: 'b' }]);
        const stream = await ledger.entries.createQueryBuilder('entry').stream();
        const rows: unknown[] = [];
        stream.on('data', (row: unknown) => rows.push(row));
        const during = insert(ledger.dataSource.manager, 'c');
        await once(stream, 'end');
        await during;
        expect(rows).toHaveLength(2);
      });
      expect(await ledger.committed()).toEqual(['a', 'b', 'c']);
    });
  }
});
