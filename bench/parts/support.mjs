import { randomBytes, randomUUID } from 'node:crypto';
import { start } from '../lib/ipc.mjs';

/** Requests until the code of an application is compiled; a cold process does a third of what it does later. */
export const WARM = 3_000;

/** Starts a contender; see `app/main.mjs` for the configuration. */
export async function startApp(config, execArgv) {
  const app = await start('app/main.mjs', [JSON.stringify(config)], execArgv);
  return Object.assign(app, { port: await app.ask('port') });
}

/** Keys whose request is completed: from now on they are replayed. */
export async function usedKeys(generator, port, count, order) {
  const keys = Array.from({ length: count }, () => randomUUID());
  await generator.ask('closedLoop', { port, clients: 4, requests: count, keys, order });
  return keys;
}

/** A job of the generator, and what it cost the application's process: milliseconds of CPU per request. */
export async function run(generator, app, name, job) {
  const before = await app.ask('cpuMs');
  const result = await generator.ask(name, { port: app.port, ...job });
  const cpuMs = ((await app.ask('cpuMs')) - before) / result.latencies.length;
  return { ...result, cpuMs };
}

/** For the store itself: a key that nobody has used. */
export function newClaim() {
  return {
    id: randomBytes(16).toString('hex'),
    owner: randomBytes(16).toString('hex'),
    fingerprint: randomBytes(17),
    scope: null,
    operation: 'POST /orders',
    key: 'a key',
    leaseMs: 60_000,
    ttlMs: 3_600_000,
  };
}

/** So many callers do `once` again and again for so many milliseconds. */
export async function loop(once, callers, forMs) {
  const latencies = [];
  const startedAt = performance.now();
  const caller = async () => {
    while (performance.now() - startedAt < forMs) {
      const before = performance.now();
      await once();
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - startedAt) / 1000;
  return { latencies, perSecond: latencies.length / seconds, statuses: {} };
}
