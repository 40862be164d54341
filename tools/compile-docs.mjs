/** Type-checks the examples of README.md and docs/*.md. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { examplesOf } from './doc-examples.mjs';

const out = '.docs-check';

const pages = [
  'README.md',
  ...(existsSync('docs') ? await readdir('docs') : [])
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

await rm(out, { recursive: true, force: true });
const origins = new Map();
for (const page of pages) {
  const folder = join(out, basename(page, '.md'));
  for (const { name, code } of await examplesOf(page)) {
    const file = join(folder, name);
    origins.set(file, page);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, code);
  }
}
if (origins.size === 0) throw new Error('No example found: README.md and docs/ have no ts block.');

await writeFile(
  join(out, 'tsconfig.json'),
  JSON.stringify({
    extends: '../tsconfig.json',
    compilerOptions: { rootDir: '..', types: ['node', 'jest'], moduleDetection: 'force' },
    include: [],
    files: [...origins.keys()].map((file) => relative(out, file)),
  }),
);
const tsc = spawnSync('node_modules/.bin/tsc', ['-p', out, '--pretty', 'false'], {
  encoding: 'utf8',
});
const report = tsc.stdout.replace(/^(\S+?)\((\d+),(\d+)\)/gm, (at, file, line, column) =>
  origins.has(file) ? `${origins.get(file)}:${line}:${column}` : at,
);
process.stdout.write(report);
if (tsc.status === 0) console.log(`${origins.size} examples in ${pages.length} pages compile`);
process.exitCode = tsc.status ?? 1;
