/** An application that processes items in batches or one by one, in a process of its own. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';
import { answer } from '../lib/ipc.mjs';
import { takeRoundTrips } from './round-trips.mjs';
import { decorate } from './decorate.mjs';

/** @type {{ database: object }} */
const { database } = JSON.parse(process.argv[2]);

class BatchModule {}
const options = { cleanup: false, startupReport: false };
decorate(BatchModule, [
  Module({ imports: [TypeOrmModule.forRoot(database), IdempotencyModule.forRoot(options)] }),
]);
const app = await NestFactory.createApplicationContext(BatchModule, { logger: ['error', 'warn'] });
const service = app.get(IdempotencyService);

let ran = 0;
const result = (item) => ({ item, note: 'x'.repeat(400) });
const single = (item) =>
  service.execute({ key: item }, () => {
    ran += 1;
    return result(item);
  });

const WAYS = {
  together: (items) =>
    service.executeBatch({ items, key: (item) => item, operation: 'batch' }, async (fresh) => {
      ran += fresh.length;
      return fresh.map(({ item }) => result(item));
    }),
  'at once': (items) => Promise.all(items.map(single)),
  'one by one': async (items) => {
    for (const item of items) {
      await single(item);
    }
  },
};

/** New items, `size` at a time. */
async function work({ way, size, count }) {
  ran = 0;
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  takeRoundTrips();
  for (let done = 0; done < count; done += size) {
    await WAYS[way](Array.from({ length: size }, () => randomUUID()));
  }
  const perSecond = count / ((performance.now() - startedAt) / 1000);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { ran, perSecond, cpuMs: (user + system) / 1000 / count, roundTrips: takeRoundTrips() };
}

answer({ work });
process.send('ready');
