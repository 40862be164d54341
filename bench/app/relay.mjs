/** An application with an outbox in a process of its own. It writes messages, or relays them, or both. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { Outbox, OutboxModule } from 'nestjs-idempotency/outbox';
import { answer } from '../lib/ipc.mjs';
import { decorate } from './decorate.mjs';

/** @type {{ database: object, relay: boolean }} */
const { database, relay } = JSON.parse(process.argv[2]);
const latencies = [];
/** When the sink was given its first message, and its last. */
let first = Infinity;
let last = 0;

/** What a broker takes to confirm. */
const CONFIRM_MS = 1;

class AppModule {}
decorate(AppModule, [
  Module({
    imports: [
      TypeOrmModule.forRoot({ ...database, synchronize: true }),
      IdempotencyModule.forRoot(),
      OutboxModule.forRoot({
        relay,
        sinks: {
          timed: async ({ createdAt }) => {
            first = Math.min(first, Date.now());
            await sleep(CONFIRM_MS);
            last = Date.now();
            latencies.push(Date.now() - createdAt.getTime());
          },
        },
      }),
    ],
  }),
]);

let app;
const start = async () => {
  app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
};
if (!relay) {
  await start();
}

answer({
  start,
  /** Written one after the other, as fast as that goes, or so many in a second. */
  emit: async ({ count, perSecond }) => {
    const outbox = app.get(Outbox);
    const begun = performance.now();
    for (let index = 0; index < count; index += 1) {
      await outbox.emit('measured', { index, text: 'x'.repeat(200) });
      const due = perSecond === undefined ? 0 : begun + (index * 1_000) / perSecond;
      if (due > performance.now()) {
        await sleep(due - performance.now());
      }
    }
  },
  sent: () => latencies.length,
  span: () => ({ first, last }),
  latencies: () => latencies.splice(0),
});
process.send('ready');
