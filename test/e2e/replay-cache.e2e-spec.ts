import { Body, Controller, Post, type Type } from '@nestjs/common';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import type { DataSource, Repository } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { send, startApp, type TestApp } from '../support/http.js';
import { EntryEntity, type Entry } from '../support/ledger.js';
import { StatementLog } from '../support/typeorm-statement-log.js';

const MODES = ['lease', 'transactional'] as const;
const dialects = availableDialects().filter((dialect) => dialect !== 'sqlite');

describe.each(dialects)('replays from memory on %s', (dialect) => {
  const log = new StatementLog();
  const started: TestApp[] = [];
  let database: TestDatabase;
  let observer: DataSource;
  let keys = 0;

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ entities: [EntryEntity], synchronize: true });
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((app) => app.close()));
  });
  afterAll(() => database.drop());

  async function start(
    mode: (typeof MODES)[number],
    options: IdempotencyModuleOptions = { replayCache: true },
  ): Promise<TestApp> {
    const app = await startApp('express', {
      imports: [
        TypeOrmModule.forRoot({
          ...database.options,
          entities: [EntryEntity],
          synchronize: true,
          logger: log,
        }),
        TypeOrmModule.forFeature([EntryEntity]),
        IdempotencyModule.forRoot({ mode, cleanup: false, startupReport: false, ...options }),
      ],
      controllers: [controllerOf()],
    });
    started.push(app);
    return app;
  }

  const post = (app: TestApp, key: string, body: unknown = {}) =>
    send(app, { path: '/entries', key, body });
  /** Behind the library's back. */
  const removeRecords = () => observer.query('DELETE FROM idempotency_record');
  const key = () => `key-${(keys += 1)}`;

  describe.each(MODES)('(%s)', (mode) => {
    it('need no record, and ask for none, where this process has written it', async () => {
      const app = await start(mode);
      const one = key();
      const first = await post(app, one);
      await removeRecords();
      let second = first;
      const statements = await log.during(async () => {
        second = await post(app, one);
      });
      expect(statements).toEqual([]);
      expect(second).toMatchObject({ status: 201, text: first.text });
      expect(second.header('Idempotent-Replayed')).toBe('true');
    });

    it('need the record once where another process has written it', async () => {
      const [here, there] = [await start(mode), await start(mode)];
      const one = key();
      const first = await post(there, one);
      expect((await post(here, one)).text).toBe(first.text);
      await removeRecords();
      expect((await post(here, one)).text).toBe(first.text);
    });

    it('still refuse another request with the same key', async () => {
      const app = await start(mode);
      const one = key();
      await post(app, one);
      expect((await post(app, one, { other: true })).status).toBe(422);
    });

    it('know nothing of a request that failed', async () => {
      const app = await start(mode);
      const one = key();
      const failing = { fails: true };
      expect((await post(app, one, failing)).status).toBe(500);
      const again = await post(app, one, failing);
      expect(again.status).toBe(500);
      expect(again.header('Idempotent-Replayed')).toBeUndefined();
    });

    it('end when the key is forgotten', async () => {
      const app = await start(mode);
      const one = key();
      const first = await post(app, one);
      expect(await app.app.get(IdempotencyService).forget({ key: one })).toBe(true);
      const again = await post(app, one);
      expect(again.header('Idempotent-Replayed')).toBeUndefined();
      expect(again.text).not.toBe(first.text);
    });

    it('are only for those who asked for them', async () => {
      const app = await start(mode, {});
      const one = key();
      await post(app, one);
      await removeRecords();
      expect((await post(app, one)).header('Idempotent-Replayed')).toBeUndefined();
    });
  });

  it('know nothing of what was a part of a transaction that was rolled back', async () => {
    const { app } = await start('transactional');
    const service = app.get(IdempotencyService);
    const [outer, inner] = [key(), key()];
    let runs = 0;
    const nested = () => service.execute({ key: inner }, async () => (runs += 1));
    const whole = service.execute({ key: outer }, async () => {
      await nested();
      await nested(); // met in the transaction, and committed nowhere
      throw new Error('undone');
    });
    await expect(whole).rejects.toThrow('undone');
    expect(runs).toBe(1);
    expect(await nested()).toBe(2);
  });
});

function controllerOf(): Type {
  @Controller('entries')
  class Entries {
    constructor(@InjectRepository(EntryEntity) private readonly entries: Repository<Entry>) {}

    @Post()
    @Idempotent()
    async add(@Body() { fails }: { fails?: boolean }) {
      if (fails === true) {
        throw new Error('no');
      }
      const { id } = await this.entries.save({ name: `entry ${process.hrtime.bigint()}` });
      return { id };
    }
  }
  return Entries;
}
