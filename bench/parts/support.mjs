import { randomUUID } from 'node:crypto';
import { start } from '../lib/ipc.mjs';

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
