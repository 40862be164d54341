/** An application that uses @nestjs-cls/transactional too; reports what became of its entries. */
import 'reflect-metadata';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClsPluginTransactional, Transactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { TypeOrmModule, getDataSourceToken } from '@nestjs/typeorm';
import { ClsModule } from 'nestjs-cls';
import { DataSource, EntitySchema, type DataSourceOptions } from 'typeorm';
import { IdempotencyModule } from '../../src/idempotency.module.js';
import { IdempotencyService } from '../../src/idempotency.service.js';

const options = JSON.parse(process.argv[2]!) as DataSourceOptions;
const Entry = new EntitySchema<{ id: number; name: string }>({
  name: 'entry',
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: String } },
});
const escapes: string[] = [];

@Injectable()
class Imports {
  constructor(
    @Inject(TransactionHost) readonly host: TransactionHost<TransactionalAdapterTypeOrm>,
  ) {}

  @Transactional()
  async add(name: string, work: () => Promise<unknown> = async () => {}): Promise<void> {
    await this.host.tx.insert(Entry, { name });
    await work();
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ ...options, entities: [Entry] }),
    IdempotencyModule.forRoot({
      mode: 'transactional',
      cleanup: false,
      hooks: { onEscaped: ({ escape }) => void escapes.push(escape) },
    }),
    ClsModule.forRoot({
      global: true,
      plugins: [
        new ClsPluginTransactional({
          imports: [TypeOrmModule],
          adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: getDataSourceToken() }),
        }),
      ],
    }),
  ],
  providers: [Imports],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const { host, add } = bound(app.get(Imports));
const dataSource = app.get(DataSource);
const service = app.get(IdempotencyService);
const no = () => Promise.reject(new Error('no'));

let keys = 0;
const run = (work: () => Promise<unknown>): Promise<void> =>
  service.execute({ key: `k-${(keys += 1)}` }, async () => void (await work()));
const work = async () => {
  await host.tx.insert(Entry, { name: 'a' });
  await add('b');
  await add('c', no).catch(() => undefined);
  await add('d', () => add('e'));
  await host.withTransaction(() => dataSource.getRepository(Entry).insert({ name: 'f' }));
};

const failed = await outcomeOf(() =>
  run(async () => {
    await work();
    return no();
  }),
);
const inside = await outcomeOf(() => run(work));
const around = await outcomeOf(() =>
  host.withTransaction(() => run(() => host.tx.insert(Entry, { name: 'a' }))),
);
await app.close();
process.send!({ failed, inside, around });
process.disconnect();

async function outcomeOf(of: () => Promise<unknown>): Promise<object> {
  const error = await of().then(
    () => undefined,
    ({ message }: Error) => message,
  );
  const entries = await dataSource.getRepository(Entry).find({ order: { name: 'ASC' } });
  await dataSource.getRepository(Entry).clear();
  return {
    ...(error !== undefined && { error }),
    entries: entries.map(({ name }) => name),
    escapes: escapes.splice(0),
  };
}

function bound(imports: Imports) {
  return { host: imports.host, add: imports.add.bind(imports) };
}
