/**
 * Proves the packed library in fresh applications outside this repository: installed with npm next
 * to real Nest 12 and Nest 11, compiled with tsc, run on Express and on Fastify over a SQLite file.
 * Needs a build (`npm run build`) first.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Database from 'better-sqlite3';

const repository = join(import.meta.dirname, '../..');
const installed = (name) =>
  execFileSync(process.execPath, ['-p', `require('${name}/package.json').version`], {
    cwd: repository,
    encoding: 'utf8',
  }).trim();

const apps = [
  { nest: '^12.0.0', platforms: ['express', 'fastify'] },
  { nest: '^11.0.0', platforms: ['express', 'fastify'] },
];

const home = await mkdtemp(join(tmpdir(), 'idempotency-smoke-'));
try {
  const [{ filename }] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', home], repository),
  );
  for (const { nest, platforms } of apps) {
    const folder = await createApp(nest, join(home, filename));
    for (const platform of platforms) await tryApp(folder, nest, platform);
  }
} finally {
  await rm(home, { recursive: true, force: true });
}

async function createApp(nest, tarball) {
  const folder = join(home, `nest-${nest.match(/\d+/)[0]}`);
  await mkdir(folder);
  await cp(join(import.meta.dirname, 'app'), folder, { recursive: true });
  const dependencies = {
    '@nestjs/common': nest,
    '@nestjs/core': nest,
    '@nestjs/platform-express': nest,
    '@nestjs/platform-fastify': nest,
    '@nestjs/typeorm': nest,
    '@types/express': '^5.0.6',
    '@types/node': '^20.19.0',
    'better-sqlite3': installed('better-sqlite3'),
    'nestjs-idempotency': `file:${tarball}`,
    'reflect-metadata': '^0.2.0',
    rxjs: '^7.8.0',
    typeorm: '^1.1.0',
  };
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'smoke', private: true, type: 'module', dependencies }),
  );
  // Without install scripts, because compiling SQLite takes longer than all the rest together; the
  // binary of the very same version comes from this repository.
  const quick = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  run('npm', ['install', ...quick], folder);
  const binary = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';
  await cp(join(repository, binary), join(folder, binary));
  run(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc')], folder);
  return folder;
}

async function tryApp(folder, nest, platform) {
  const file = join(folder, `${platform}.sqlite`);
  const app = spawn(process.execPath, ['dist/main.js'], {
    cwd: folder,
    env: { ...process.env, PLATFORM: platform, DATABASE_FILE: file },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(app, 'exit');
  try {
    const url = await listening(app.stdout);
    const key = crypto.randomUUID();
    const first = await order(url, key);
    const second = await order(url, key);
    assert.equal(first.status, 201, first.body);
    assert.equal(first.replayed, null);
    assert.match(JSON.parse(first.body).charge, /./, 'derive() gave no key');
    assert.deepEqual(second, { ...first, replayed: 'true' });
    await tryTransactions(url);
    const reports = [await order(url, '', '/report'), await order(url, '', '/report')];
    assert.equal(reports[0].body, reports[1].body, 'the method ran twice');
  } finally {
    app.kill('SIGTERM');
  }
  const [code, signal] = await exited;
  assert.ok(code === 0 || signal === 'SIGTERM', `the application ended with ${code}`);

  const database = new Database(file, { readonly: true });
  const count = (table) => database.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
  assert.equal(count('orders'), 3, 'a handler ran twice, or a part of one stayed');
  assert.equal(count('idempotency_record'), 3);
  database.close();
  const bin = join(folder, 'node_modules/.bin/nestjs-idempotency');
  const { records } = JSON.parse(run(bin, ['stats', '--json', '--url', `sqlite:${file}`], folder));
  assert.equal(records.completed, 3);
  console.log(`smoke ok: Nest ${nest} on ${platform}`);
}

/** What fails is undone and may be tried again; what succeeds is there once. */
async function tryTransactions(url) {
  const key = crypto.randomUUID();
  const failed = await order(url, key, '/pairs', 'sold-out');
  assert.equal(failed.status, 409, failed.body);
  const first = await order(url, key, '/pairs');
  assert.equal(first.status, 201, first.body);
  assert.deepEqual(await order(url, key, '/pairs'), { ...first, replayed: 'true' });
}

async function order(url, key, path = '', sku = 'tea') {
  const response = await fetch(`${url}/orders${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ sku }),
  });
  return {
    status: response.status,
    body: await response.text(),
    replayed: response.headers.get('idempotent-replayed'),
  };
}

async function listening(stdout) {
  const output = [];
  for await (const line of createInterface({ input: stdout })) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url) return url;
    output.push(line);
  }
  throw new Error(`The application did not start:\n${output.join('\n')}`);
}

function run(command, args, cwd) {
  try {
    return execFileSync(command, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')} failed:\n${error.stdout}${error.stderr}`);
  }
}
