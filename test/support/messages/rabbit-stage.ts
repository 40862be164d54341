import type { INestApplicationContext, Type } from '@nestjs/common';
import { memoryStore, type IdempotencyStore } from 'nestjs-idempotency';
import { clearFailpoints } from '../../../src/engine/failpoints.js';
import { eventually } from '../http.js';
import { Doings } from './message-shop.js';
import { startConsumer, TestQueue, type Consuming } from './rabbit.js';

/** What `useRabbit` gives to the test that runs. */
export let queue: TestQueue;
export let store: IdempotencyStore;
export let doings: Doings;
/** They are closed after the test. */
export let apps: INestApplicationContext[];

/** A queue, a store and no applications yet, for each test of a `describe`. */
export function useRabbit(): void {
  beforeEach(async () => {
    queue = await TestQueue.open();
    store = memoryStore();
    doings = new Doings();
    apps = [];
  });
  afterEach(async () => {
    clearFailpoints();
    doings.gate.open();
    await Promise.all(apps.map((app) => app.close()));
    await queue.close();
  });
}

/** An application that consumes the queue. */
export async function start(
  controllers: Type | readonly Type[],
  consuming: Consuming = {},
): Promise<void> {
  const shop = { store, controllers: [controllers].flat() };
  apps.push(await startConsumer(queue.server(consuming), shop));
}

export function ran(times: number, what = 'placed'): Promise<void> {
  return eventually(() => doings.times(what) >= times, `${what} ran ${times} times`, 8_000);
}
