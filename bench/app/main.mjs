/**
 * One contender as an application of its own process: `POST /orders` on a free port of the loopback
 * interface. What to guard it with comes as JSON in the first argument (see `contenders.mjs`), and what
 * its handler does (`work`, see `orders.controller.mjs`); the parent asks questions over the IPC channel.
 */
import 'reflect-metadata';
import { countSqliteStatements, takeRoundTrips } from './round-trips.mjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyService } from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { answer } from '../lib/ipc.mjs';
import { BystandersController } from './bystanders.controller.mjs';
import { contender } from './contenders.mjs';
import { decorate } from './decorate.mjs';
import { Effects } from './effects.mjs';
import { guard, pointsController, stamp } from './points.controller.mjs';
import { ordersController } from './orders.controller.mjs';
import { Sale, Stock } from './shop.mjs';
import { StatementCounter } from './statement-counter.mjs';

/**
 * @type {{
 *   guard: string, idempotent?: object | false, database?: object, redis?: string,
 *   module?: object, work?: string, workMs?: number, bystanders?: boolean, points?: boolean, countStatements?: boolean, microBatch?: boolean
 * }}
 */
const config = JSON.parse(process.argv[2]);
const effects = new Effects();
const statements = new StatementCounter();

const { imports, decorators, middleware } = await contender(config);
if (config.database) {
  const log = config.countStatements ? { logging: true, logger: statements } : {};
  imports.unshift(TypeOrmModule.forRoot({ ...config.database, entities: [Sale, Stock], ...log }));
}

if (config.points && config.database?.type === 'better-sqlite3') {
  countSqliteStatements();
}

const controllers = [ordersController(decorators, effects, config)];
if (config.bystanders) {
  controllers.push(BystandersController);
}
if (config.points) {
  controllers.push(pointsController(decorators, effects));
}

class AppModule {
  configure(consumer) {
    if (middleware) {
      consumer.apply(middleware).forRoutes('*splat');
    }
  }
}
decorate(AppModule, [Module({ imports, controllers })]);

// what is checked there fails on purpose, and is written down by who asks
const logger = config.points ? false : ['error', 'warn'];
const app = await NestFactory.create(AppModule, { logger });
if (config.points) {
  app.useGlobalGuards(guard);
  app.useGlobalInterceptors(stamp);
}
await app.listen(0, '127.0.0.1');

answer({
  port: () => app.getHttpServer().address().port,
  effects: () => effects.take(),
  cpuMs: () => cpuMs(),
  effectsOf: (key) => effects.of(key),
  statements: () => statements.take(),
  roundTrips: () => takeRoundTrips(),
  heapBytes: () => heapBytes(),
  closeGate: () => effects.closeGate(),
  openGate: () => effects.openGate(),
  waitForWork: (key) => effects.started(key),
  flushStatistics: () => flushStatistics(),
  deleteExpired: () => app.get(IdempotencyService).deleteExpired(),
});
process.send('ready');

/** CPU time that this process has had, in milliseconds. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** What is left after a collection; the process was started with `--expose-gc`. */
function heapBytes() {
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

/**
 * A connection tells the server what it did only now and then, or when it is asked to and has read a table since.
 * The question is one more commit. With more than one connection the others would not be asked.
 */
async function flushStatistics() {
  await app.get(DataSource).query('SELECT pg_stat_force_next_flush() FROM bench_stock LIMIT 1');
}
