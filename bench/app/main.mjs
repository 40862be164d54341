/**
 * One contender as an application of its own process: `POST /orders` on a free port of the loopback
 * interface. What to guard it with comes as JSON in the first argument (see `contenders.mjs`); the
 * parent asks questions over the IPC channel.
 */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyService } from 'nestjs-idempotency';
import { answer } from '../lib/ipc.mjs';
import { contender } from './contenders.mjs';
import { decorate } from './decorate.mjs';
import { Effects } from './effects.mjs';
import { ordersController } from './orders.controller.mjs';
import { StatementCounter } from './statement-counter.mjs';

/** @type {{ guard: string, database?: object, redis?: string, work?: string, countStatements?: boolean }} */
const config = JSON.parse(process.argv[2]);
const effects = new Effects();
const statements = new StatementCounter();

const { imports, decorators } = await contender(config);
if (config.database) {
  const log = config.countStatements ? { logging: true, logger: statements } : {};
  imports.unshift(TypeOrmModule.forRoot({ ...config.database, ...log }));
}

class AppModule {}
decorate(AppModule, [
  Module({ imports, controllers: [ordersController(decorators, effects, config.work)] }),
]);

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
await app.listen(0, '127.0.0.1');

answer({
  port: () => app.getHttpServer().address().port,
  effects: () => effects.take(),
  cpuMs: () => cpuMs(),
  statements: () => statements.take(),
  closeGate: () => effects.closeGate(),
  openGate: () => effects.openGate(),
  waitForWork: () => effects.started(),
  deleteExpired: () => app.get(IdempotencyService).deleteExpired(),
});
process.send('ready');

/** CPU time that this process has had, in milliseconds. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
