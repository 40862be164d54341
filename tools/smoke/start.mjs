/** `npm start` gives a newcomer a running app: its second printed curl line replays the first, and it serves the lab and /docs. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const home = await mkdtemp(join(tmpdir(), 'idempotency-start-'));
const { DATABASE_URL: _, ...env } = process.env;
const app = spawn('npm', ['start'], {
  cwd: join(import.meta.dirname, '../..'),
  env: { ...env, PORT: '0', DATABASE_FILE: join(home, 'orders.sqlite') },
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true,
});
try {
  const [first, second] = await printedCurlLines(2);
  const placed = curl(first);
  const replayed = curl(second);
  assert.match(placed.head, /^HTTP\/1\.1 201 /);
  assert.doesNotMatch(placed.head, /^idempotent-replayed:/im);
  assert.match(replayed.head, /^HTTP\/1\.1 201 /);
  assert.match(replayed.head, /^idempotent-replayed: true\r?$/im);
  assert.equal(replayed.body, placed.body);
  const docs = new URL('/docs-json', first.match(/http:[^"]+/)[0]);
  const { paths } = await (await fetch(docs)).json();
  const headers = paths['/orders'].post.parameters.filter((parameter) => parameter.in === 'header');
  assert.deepEqual(
    headers.map(({ name }) => name),
    ['Idempotency-Key'],
  );
  assert.match(await (await fetch(new URL('/docs', docs))).text(), /swagger-ui/);
  const page = await fetch(new URL('/', docs));
  assert.match(await page.text(), /<h1>Retry lab<\/h1>/);
  const client = await fetch(new URL('/client/index.js', docs));
  assert.match(await client.text(), /idempotentFetch/);
  console.log(
    'npm start ok: the second curl line replays, /docs tells of the key, and / is the lab',
  );
} finally {
  // The whole group: npm, its shell and the app.
  if (app.pid) process.kill(-app.pid, 'SIGTERM');
  await rm(home, { recursive: true, force: true });
}

async function printedCurlLines(count) {
  const output = [];
  for await (const line of createInterface({ input: app.stdout })) {
    output.push(line);
    const lines = output.filter((text) => text.startsWith('curl '));
    if (lines.length === count) return lines;
  }
  throw new Error(`npm start ended without its curl lines:\n${output.join('\n')}`);
}

/** Runs the line as a person would paste it, and splits the answer. */
function curl(line) {
  const answer = execFileSync('bash', ['-c', line], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const end = answer.indexOf('\r\n\r\n');
  return { head: answer.slice(0, end), body: answer.slice(end + 4) };
}
