/**
 * The built package as its users load it: by name, from ES modules and from CommonJS, with exactly
 * the documented exports. The root entry, `/testing` and `/openapi` load no optional package, and `/client` nothing but itself.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire, register } from 'node:module';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

const entries = {
  'nestjs-idempotency/client': [
    'IdempotencyClientError',
    'contentKey',
    'forgetIntent',
    'idempotentAxios',
    'idempotentFetch',
    'timeKey',
    'uuidv4',
    'uuidv7',
  ],
  'nestjs-idempotency/client/messages': ['withMessageIds'],
  'nestjs-idempotency/testing': [
    'crashAt',
    'describeIdempotencyStore',
    'duplicateStorm',
    'expectEffectOnce',
    'loseLeases',
    'memoryStore',
  ],
  'nestjs-idempotency': [
    'CurrentIdempotency',
    'IDEMPOTENCY_CODES',
    'IdempotencyError',
    'IdempotencyException',
    'IdempotencyModule',
    'IdempotencyService',
    'Idempotent',
    'currentIdempotency',
    'memoryStore',
    'tick',
  ],
  'nestjs-idempotency/dashboard': ['IdempotencyDashboardModule'],
  'nestjs-idempotency/openapi': ['documentIdempotency'],
  'nestjs-idempotency/redis': ['redisStore'],
  'nestjs-idempotency/typeorm': [
    'CreateIdempotencyRecord1764000000000',
    'DivideIdempotencyByDay1764000000003',
    'IdempotencyRecord',
    'IndexIdempotencyScope1764000000002',
    'TypeOrmStore',
    'entityManagerOf',
    'idempotencyMigrations',
    'idempotencyRecord',
    'typeOrmStore',
  ],
  'nestjs-idempotency/outbox': [
    'CreateIdempotencyOutbox1764000000001',
    'Outbox',
    'OutboxModule',
    'OutboxRelay',
    'bullMqSink',
    'clientProxySink',
    'outboxMigrations',
  ],
  'nestjs-idempotency/bullmq': ['IdempotentJob', 'jobKey'],
  'nestjs-idempotency/telemetry': ['openTelemetry'],
  'nestjs-idempotency/terminus': ['IdempotencyHealthIndicator'],
};
/** Each is there for one of the optional packages. */
const forPackages = ['typeorm', 'outbox', 'bullmq', 'telemetry', 'terminus'].map(
  (path) => `nestjs-idempotency/${path}`,
);
const optional =
  /\/node_modules\/(typeorm|bullmq|ioredis|redis|amqplib|kafkajs|@opentelemetry|@nestjs\/(typeorm|schedule|microservices|bullmq|swagger|terminus|platform-\w+)|express|fastify|@jest)\/|\/dist\/stores\/typeorm\//;

// ES modules have no public cache to look into, so a loader hook reports every file it loads.
const { port1, port2 } = new MessageChannel();
const hook = `
  let port;
  export const initialize = (data) => { port = data; };
  export const load = (url, context, next) => { port.postMessage(url); return next(url, context); };`;
register(`data:text/javascript,${encodeURIComponent(hook)}`, {
  data: port2,
  transferList: [port2],
});
const { cache } = createRequire(import.meta.url);
function loadedFiles() {
  const urls = [];
  for (let next; (next = receiveMessageOnPort(port1));) urls.push(next.message);
  return [...urls, ...Object.keys(cache)];
}

for (const [name, expected] of Object.entries(entries)) {
  const actual = Object.keys(await import(name)).sort();
  assert.deepEqual(actual, expected, `${name} does not export what it should.`);

  const files = loadedFiles();
  if (name.endsWith('/client')) {
    const foreign = files.filter((file) => !/\/dist\/client\/[\w-]+\.js$/.test(file));
    assert.deepEqual(foreign, [], `${name} must load nothing from outside of its folder.`);
  }
  const extra = files.filter((file) => optional.test(file));
  if (forPackages.includes(name)) assert.ok(extra.length > 0, 'this check sees no loaded file');
  else assert.deepEqual(extra, [], `${name} must load no optional package.`);

  const commonJs = execFileSync(
    process.execPath,
    ['--input-type=commonjs', '--print', `Object.keys(require('${name}')).sort().join()`],
    { encoding: 'utf8' },
  );
  assert.equal(commonJs.trim(), expected.join(), `require('${name}') differs from import.`);
}
port1.close();

// A process that is doomed by crashAt() dies, whichever way it has loaded the package.
const { crashAt } = await import('nestjs-idempotency/testing');
const application = `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { createRequire } from 'node:module';
  const { IdempotencyModule, IdempotencyService, memoryStore } = LOAD('nestjs-idempotency');
  const module = IdempotencyModule.forRoot({ store: memoryStore() });
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  await app.get(IdempotencyService).execute({ key: 'k' }, () => 'done');`;
for (const load of ['await import', 'createRequire(import.meta.url)']) {
  const { signal, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', application.replace('LOAD', load)],
    { env: { ...process.env, ...crashAt('before-record') }, encoding: 'utf8' },
  );
  assert.equal(signal, 'SIGKILL', `crashAt() does nothing to what \`${load}\` loads. ${stderr}`);
}
console.log(`import-check ok on Node ${process.version}`);
