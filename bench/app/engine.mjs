/**
 * One way to do something once without HTTP, in a process of its own: what it does for each operation comes as JSON in the
 * first argument. The result that is kept has 0.4 KB.
 */
import 'reflect-metadata';
import { randomBytes, randomUUID } from 'node:crypto';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { answer } from '../lib/ipc.mjs';
import { takeRoundTrips } from './round-trips.mjs';
import { decorate } from './decorate.mjs';
import { mariaDbFloor, postgresFloor, redisFloor, sqliteFloor } from './floor.mjs';
import { powertoolsOn } from './peers.mjs';
import { redisClient, redisStoreOn } from './redis.mjs';

/** @type {{ way: 'floor' | 'store' | 'execute' | 'powertools', database?: object, redis?: string }} */
const { way, database, redis } = JSON.parse(process.argv[2]);
const RESULT = Buffer.alloc(400, 'a');
const VALUE = { note: RESULT.toString() };
const HOUR = 3_600_000;

const FLOORS = {
  postgres: ({ url }) => postgresFloor(url),
  mariadb: ({ url }) => mariaDbFloor(url),
  'better-sqlite3': ({ database: path }) => sqliteFloor(path),
};

const WAYS = {
  async floor() {
    const { claim, complete } = database ? FLOORS[database.type](database) : redisFloor(redis);
    return async () => {
      const id = randomUUID();
      const isOurs = await claim(id);
      await complete(id, RESULT);
      return isOurs;
    };
  },
  async store() {
    const { store } = await startService();
    return async () => {
      const claim = { id: randomBytes(16).toString('hex'), owner: randomBytes(16).toString('hex') };
      const { type } = await store.claim({
        ...claim,
        fingerprint: Buffer.alloc(17),
        scope: '',
        operation: 'bench',
        key: claim.id,
        leaseMs: HOUR,
        ttlMs: HOUR,
      });
      const { applied } = await store.complete({ ...claim, result: RESULT, ttlMs: HOUR });
      return type === 'claimed' && applied;
    };
  },
  async execute() {
    const { service } = await startService();
    return async () => {
      let ran = false;
      await service.execute({ key: randomUUID(), payload: VALUE }, () => {
        ran = true;
        return VALUE;
      });
      return ran;
    };
  },
  async powertools() {
    const handle = await powertoolsOn(await redisClient(redis));
    const call = handle((_event, work) => work());
    return async () => {
      let ran = false;
      await call({ key: randomUUID(), body: VALUE }, () => {
        ran = true;
        return VALUE;
      });
      return ran;
    };
  },
};

/** An application of this library, and the store that it uses. */
async function startService() {
  let store;
  const definition = database ? typeOrmStore() : await redisStoreOn(redis);
  const options = {
    store: {
      ...definition,
      useFactory: async (...injected) =>
        (store = await (definition.useFactory?.(...injected) ?? definition)),
    },
    cleanup: false,
    startupReport: false,
  };
  const imports = [IdempotencyModule.forRoot(options)];
  if (database) {
    imports.unshift(TypeOrmModule.forRoot(database));
  }
  class EngineModule {}
  decorate(EngineModule, [Module({ imports })]);
  const app = await NestFactory.createApplicationContext(EngineModule, {
    logger: ['error', 'warn'],
  });
  return { store, service: app.get(IdempotencyService) };
}

const once = await WAYS[way]();

/** Each of `clients` does the next when it is done, for `ms` milliseconds or until `count` are done. */
async function closedLoop({ clients, ms = Infinity, count = Infinity }) {
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const latencies = [];
  let begun = 0;
  const client = async () => {
    while (begun < count && performance.now() - startedAt < ms) {
      begun += 1;
      const since = performance.now();
      if (!(await once())) {
        throw new Error(`'${way}' did not do what it was to do.`);
      }
      latencies.push(performance.now() - since);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const perSecond = latencies.length / ((performance.now() - startedAt) / 1000);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { latencies, perSecond, statuses: {}, cpuMs: (user + system) / 1000 / latencies.length };
}

answer({ closedLoop, roundTrips: () => takeRoundTrips() });
process.send('ready');
