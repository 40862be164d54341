/** The recipes, and what the guide begins with, as they stand in the documentation: each keeps what it promises. */
import 'reflect-metadata';
import { Logger, type ModuleMetadata, type Type } from '@nestjs/common';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { duplicateStorm } from 'nestjs-idempotency/testing';
import { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { examples, type Examples } from '../support/examples.js';
import { eventually, send, startApp, type TestApp } from '../support/http.js';

type Loaded = Record<string, Type>;

let recipes: Examples;
let database: TestDatabase;
const apps: TestApp[] = [];

beforeAll(async () => {
  Logger.overrideLogger(false);
  recipes = await examples('docs/recipes.md');
});
afterAll(() => recipes.remove());
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
  await database.drop();
});

const open = async (dialect: TestDialect): Promise<void> => {
  database = await createTestDatabase(dialect);
};

/** One instance of an application on the database. */
const start = async ({ imports = [], ...rest }: ModuleMetadata, entities: Type[] = []) => {
  const app = await startApp('express', {
    imports: [
      TypeOrmModule.forRoot({
        ...database.options,
        entities,
        autoLoadEntities: true,
        synchronize: true,
      }),
      IdempotencyModule.forRoot(),
      ...imports,
    ],
    ...rest,
  });
  apps.push(app);
  return app;
};

const rowsOf = (app: TestApp, entity: Type) => app.app.get(DataSource).getRepository(entity);

describe.each(['sqlite-file', 'postgres', 'mariadb'] as const)('recipes on %s', (dialect) => {
  beforeEach(() => open(dialect));

  it('a payment that is retried is one charge, and a declined card stays declined', async () => {
    const { Order, Payments, PaymentsController } = await recipes.load<Loaded>('payments.ts');
    const charges = new Map<string, object>();
    let failure: string | undefined;
    const provider = {
      asked: 0,
      async charge({ cents }: { cents: number }, { idempotencyKey }: { idempotencyKey: string }) {
        provider.asked += 1;
        const charge = { id: `ch-${charges.size + 1}`, declined: cents > 1_000 };
        if (!charges.has(idempotencyKey)) charges.set(idempotencyKey, charge);
        if (failure !== undefined) throw new Error(failure);
        return charges.get(idempotencyKey);
      },
    };
    const app = await start(
      {
        controllers: [PaymentsController!],
        providers: [{ provide: Payments!, useValue: provider }],
      },
      [Order!],
    );
    const orders = rowsOf(app, Order!);
    await orders.insert({ id: 'o-1' });
    const pay = (key: string, cents = 900) =>
      send(app, { path: '/orders/o-1/pay', key, body: { cents } });

    failure = 'the network lost the answer';
    expect((await pay('k-1')).status).toBe(500);
    failure = undefined;
    const storm = await duplicateStorm(5, () => pay('k-1'));
    expect(storm.failed).toEqual([]);
    expect((await pay('k-1')).json()).toEqual({ id: 'o-1', charge: 'ch-1' });
    expect([charges.size, provider.asked]).toEqual([1, 2]);
    expect(await orders.findOneBy({ id: 'o-1' })).toMatchObject({ paidBy: 'ch-1' });

    const declined = await pay('k-2', 5_000);
    const again = await pay('k-2', 5_000);
    expect([declined.status, again.status, again.text]).toEqual([402, 402, declined.text]);
    expect(provider.asked).toBe(3);
  });

  it('a payment that was charged and not booked is booked by the retry, and not charged again', async () => {
    const { Order, Payments, PaymentsController } = await recipes.load<Loaded>('payments.ts');
    let asked = 0;
    const charge = async () => ({ id: `ch-${(asked += 1)}`, declined: false });
    const app = await start(
      {
        controllers: [PaymentsController!],
        providers: [{ provide: Payments!, useValue: { charge } }],
      },
      [Order!],
    );
    const runner = app.app.get(DataSource).createQueryRunner();
    await runner.renameTable('orders', 'away');
    const pay = () => send(app, { path: '/orders/o-1/pay', key: 'k-1', body: { cents: 900 } });
    expect((await pay()).status).toBe(500);
    await runner.renameTable('away', 'orders');
    await runner.release();
    await rowsOf(app, Order!).insert({ id: 'o-1' });
    expect((await pay()).json()).toEqual({ id: 'o-1', charge: 'ch-1' });
    expect(asked).toBe(1);
    expect(await rowsOf(app, Order!).findOneBy({ id: 'o-1' })).toMatchObject({ paidBy: 'ch-1' });
  });

  it('an event of a webhook counts once', async () => {
    const { Account, WebhooksController } = await recipes.load<Loaded>('webhooks.ts');
    const app = await start({ controllers: [WebhooksController!] }, [Account!]);
    const accounts = rowsOf(app, Account!);
    await accounts.insert({ id: 'a-1', cents: 0 });
    const body = { id: 'evt-1', data: { account: 'a-1', cents: 100 } };
    const deliver = () => send(app, { path: '/webhooks/provider', body });
    const storm = await duplicateStorm(5, deliver);
    expect(storm.answers.every(({ status }) => [204, 409].includes(status))).toBe(true);
    expect((await deliver()).status).toBe(204);
    expect(await accounts.findOneBy({ id: 'a-1' })).toMatchObject({ cents: 100 });
  });

  it('an import that failed in the middle goes on there', async () => {
    const { Stock, Imports } = await recipes.load<Loaded>('imports.ts');
    const app = await start({ providers: [Imports!] }, [Stock!]);
    const stock = rowsOf(app, Stock!);
    await stock.insert({ sku: 'tea', quantity: 0 });
    const rows = Array.from({ length: 1_100 }, () => ({ sku: 'tea', quantity: 1 }));
    const load = (all: object[]) =>
      (app.app.get(Imports!) as { load(id: string, rows: object[]): Promise<void> }).load('i', all);
    const quantity = async () => (await stock.findOneByOrFail({ sku: 'tea' })).quantity;

    await expect(load(rows.with(700, { sku: 'coffee', quantity: 1 }))).rejects.toThrow('no coffee');
    expect(await quantity()).toBe(500);
    await load(rows);
    await load(rows);
    expect(await quantity()).toBe(1_100);
    await expect(load(rows.with(0, { sku: 'tea', quantity: 2 }))).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
  });

  it('a cron job runs on one of two instances, and is made up for', async () => {
    const { Billing, Invoices } = await recipes.load<Loaded>('cron.ts');
    const sent: string[] = [];
    let isDown = true;
    const billing = {
      due: async () => ['acme', 'bolt'],
      async send(customer: string) {
        if (customer === 'bolt' && isDown) throw new Error('the mail server is down');
        sent.push(customer);
      },
    };
    const instance = () =>
      start({
        imports: [ScheduleModule.forRoot()],
        providers: [Invoices!, { provide: Billing!, useValue: billing }],
      });
    const both = [await instance(), await instance()];
    /** Nobody hears when a timer's work is done. */
    const tickUntil = (customer: string) =>
      eventually(() => {
        const jobs = both.flatMap(({ app }) => [
          ...app.get(SchedulerRegistry).getCronJobs().values(),
        ]);
        jobs.forEach((job) => void job.fireOnTick());
        return sent.includes(customer);
      }, `an invoice for ${customer}`);
    await tickUntil('acme');
    isDown = false;
    await tickUntil('bolt');
    await tickUntil('bolt');
    const jobs = both.map(({ app }) => app.get(Invoices!) as { monthly(): Promise<number> });
    await eventually(async () => (await jobs[0]!.monthly().catch(() => 0)) === 2, 'its outcome');
    expect(await jobs[1]!.monthly()).toBe(2);
    expect(sent).toEqual(['acme', 'bolt']);
  });
});

it('the guide and the quick start of the README begin with what works', async () => {
  await open('postgres');
  const before = process.env.DATABASE_URL;
  process.env.DATABASE_URL = (database.options as { url: string }).url;
  const guide = await examples('docs/getting-started.md');
  const readme = await examples('README.md');
  try {
    const { AppModule } = await guide.load<Loaded>('app.module.ts');
    const { OrdersController } = await readme.load<Loaded>('app.module.ts');
    const app = await startApp('express', {
      imports: [AppModule!],
      controllers: [OrdersController!],
    });
    apps.push(app);
    const order = { path: '/orders', key: 'k-1', body: { sku: 'tea', quantity: 2 } };
    const storm = await duplicateStorm(10, () => send(app, order));
    expect(storm.answers.every(({ status }) => [201, 409].includes(status))).toBe(true);
    const first = storm.answers.find(({ status }) => status === 201);
    const again = await send(app, order);
    expect([again.text, again.header('idempotent-replayed')]).toEqual([first?.text, 'true']);
    const changed = await send(app, { ...order, body: { sku: 'tea', quantity: 3 } });
    expect(changed.json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
  } finally {
    process.env.DATABASE_URL = before;
    await guide.remove();
    await readme.remove();
  }
});

it('the transfer of the README is made once', async () => {
  await open('sqlite');
  const readme = await examples('README.md');
  try {
    const { Account, TransfersController } = await readme.load<Loaded>('transfers.ts');
    const app = await start({
      imports: [TypeOrmModule.forFeature([Account!])],
      controllers: [TransfersController!],
    });
    const accounts = rowsOf(app, Account!);
    await accounts.insert(['a', 'b'].map((id) => ({ id, cents: 100 })));
    const body = { from: 'a', to: 'b', cents: 30 };
    const storm = await duplicateStorm(5, () =>
      send(app, { path: '/transfers', key: 'k-1', body }),
    );
    expect(storm.failed).toEqual([]);
    expect(await accounts.find({ order: { id: 'asc' } as object })).toMatchObject([
      { cents: 70 },
      { cents: 130 },
    ]);
  } finally {
    await readme.remove();
  }
});
