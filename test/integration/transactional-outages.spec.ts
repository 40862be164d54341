import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

beforeAll(() => Logger.overrideLogger(false));

const servers = ledgerPaths().filter((path) => !path.startsWith('sqlite'));

describe.each(servers)('a transaction on %s whose connection is lost', (path) => {
  let home: Ledger;
  let ledger: Pick<Ledger, 'dataSource' | 'service'>;
  let proxy: TcpProxy;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    home = await openLedger(path, { poolSize: 2 });
    const { url } = home.database.options as { url: string };
    const target = new URL(url);
    const port = Number(target.port) || (path === 'postgres' ? 5432 : 3306);
    proxy = await startTcpProxy({ host: target.hostname, port });
    target.hostname = '127.0.0.1';
    target.port = String(proxy.port);
    ledger = await home.another({ url: target.href });
  });
  afterAll(async () => {
    await home.close();
    await proxy.close();
  });
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await home.entries.clear();
  });

  let runs = 0;
  const add = async (name: string): Promise<void> => {
    await ledger.dataSource.query(`INSERT INTO entry (name) VALUES ('${name}')`);
  };
  const place = (during?: () => Promise<unknown>, options: object = {}): Promise<number> =>
    ledger.service.execute({ key, ...options }, async () => {
      await add(key);
      await during?.();
      return (runs += 1);
    });
  const unavailable = { code: 'IDEMPOTENCY_STORE_UNAVAILABLE', retryAfterSeconds: 1 };

  it.each([{}, { attempts: { max: 2 } }])(
    'answers its success when only the answer to COMMIT was lost (%j)',
    async (options) => {
      let sprung: Promise<void> | undefined;
      const first = await place(async () => {
        sprung = proxy.cutAt('COMMIT', 'answered');
      }, options);
      await sprung;
      expect(await home.committed()).toEqual([key]);
      expect(await place(undefined, options)).toBe(first);
    },
  );

  it('counts no attempt whose COMMIT was lost, and gives it back', async () => {
    const options = { attempts: { max: 2 } };
    for (let n = 0; n < 3; n += 1) {
      const lost = place(async () => void proxy.cutAt('COMMIT', 'before'), options);
      await expect(lost).rejects.toMatchObject(unavailable);
    }
    expect(await place(undefined, options)).toBe(runs);
    expect(await home.committed()).toEqual([key]);
  });

  it('gives back an attempt whose start was lost on its way', async () => {
    const options = { attempts: { max: 1 } };
    const sprung = proxy.cutAt('COMMIT', 'answered');
    await expect(place(undefined, options)).rejects.toMatchObject(unavailable);
    await sprung;
    await eventually(async () => (await home.service.find({ key })) === null, 'it is given back');
    expect(await place(undefined, options)).toBe(runs);
  });

  it('says that it was not committed when COMMIT was lost, and a retry runs', async () => {
    const sprung = proxy.cutAt('COMMIT', 'before');
    await expect(place()).rejects.toMatchObject(unavailable);
    await sprung;
    expect(await home.committed()).toEqual([]);
    await place();
    expect(await home.committed()).toEqual([key]);
  });

  it('is not given for rolled back while nobody can tell', async () => {
    const gate = new TestGate();
    const first = place(() => gate.pass());
    await gate.reached;
    const sprung = proxy.cutAt('COMMIT', 'answered').then(() => proxy.mode('cut'));
    gate.open();
    await expect(first).rejects.toMatchObject(unavailable);
    await sprung;
    proxy.mode('through');
    const before = runs;
    expect(await place()).toBe(before); // replayed
    expect(await home.committed()).toEqual([key]);
  });

  it('does not begin its work when the database is away', async () => {
    proxy.mode('cut');
    const before = runs;
    await expect(place()).rejects.toMatchObject(unavailable);
    expect(runs).toBe(before);
    proxy.mode('through');
    await place();
    expect(await home.committed()).toEqual([key]);
  });

  it('keeps nothing when it is killed in the middle, and a retry runs', async () => {
    const failing = place(async () => {
      await kill();
      await add('b');
    });
    await expect(failing).rejects.toThrow(/released|closed|terminat|lost|killed/i);
    expect(await home.committed()).toEqual([]);
    await place();
    expect(await home.committed()).toEqual([key]);
  });

  it('keeps nothing when it is killed and its work does not notice', async () => {
    await expect(place(kill)).rejects.toMatchObject(unavailable);
    expect(await home.committed()).toEqual([]);
    await place();
    expect(await home.committed()).toEqual([key]);
  });

  /** Ends the connection that the transaction is on, and waits until the server has. */
  async function kill(): Promise<void> {
    const sql =
      path === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id';
    const [{ id }] = (await ledger.dataSource.query(sql)) as [{ id: number }];
    await home.dataSource.query(
      path === 'postgres' ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`,
    );
    const list =
      path === 'postgres'
        ? `SELECT 1 FROM pg_stat_activity WHERE pid = ${id}`
        : `SELECT 1 FROM information_schema.processlist WHERE id = ${id}`;
    await eventually(
      async () => ((await home.dataSource.query(list)) as unknown[]).length === 0,
      'the connection ends',
    );
  }
});
