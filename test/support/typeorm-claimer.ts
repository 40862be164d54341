/** One of several processes with a store on the same database. */
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import type { DialectOptions } from '../../src/stores/typeorm/dialects/create-dialect.js';
import { answerClaims } from './claim-process.js';

export interface Claimer {
  readonly dataSource: DataSourceOptions;
  readonly options: DialectOptions;
}

const given = JSON.parse(process.argv[2]!) as Claimer;
const dataSource = await new DataSource(given.dataSource).initialize();
const store = new TypeOrmStore(dataSource, given.options);
await store.init();
answerClaims(store, () => void dataSource.destroy());
