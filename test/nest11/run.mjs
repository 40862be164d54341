/**
 * Proves the packed library and its sub-paths with Nest 11, its peers and `@golevelup/nestjs-rabbitmq`, outside of this
 * repository: here Node would find its Nest 12. Needs a build (`npm run build`), RabbitMQ, NATS and Redis.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const repository = join(import.meta.dirname, '../..');
const home = await mkdtemp(join(tmpdir(), 'idempotency-nest11-'));
try {
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', home]);
  const [{ filename }] = JSON.parse(packed);
  for (const part of ['package.json', 'tsconfig.json', 'src']) {
    await cp(join(import.meta.dirname, part), join(home, part), { recursive: true });
  }
  const quick = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  run('npm', ['install', ...quick, join(home, filename)], home);
  run(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc')], home);
  const specs = (await readdir(join(home, 'dist'))).filter((name) => name.endsWith('.test.js'));
  const files = specs.map((name) => join('dist', name));
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--test', '--test-concurrency=1', '--test-reporter=tap', ...files],
    { cwd: home, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  console.log(stdout);
  const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
  assert.ok(status === 0, 'A test failed with Nest 11.');
  assert.ok(passed > 0, 'No test ran with Nest 11.');
  console.log(`nest11 ok: ${passed} passed`);
} finally {
  await rm(home, { recursive: true, force: true });
}

function run(command, args, cwd = repository) {
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
