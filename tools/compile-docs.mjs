/**
 * Type-checks the examples of README.md and docs/*.md: every block fenced as `ts` is a module.
 * A first line `// file: name.ts` names it, so that later blocks of the page can import it.
 * A block fenced as `ts no-check` is left alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';

const out = '.docs-check';
const fence = /^( *)```(?:ts|typescript)( no-check)? *\n([\s\S]*?)^\1``` *$/gm;

const pages = [
  'README.md',
  ...(existsSync('docs') ? await readdir('docs') : [])
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

await rm(out, { recursive: true, force: true });
const origins = new Map();
for (const page of pages) {
  const markdown = await readFile(page, 'utf8');
  const folder = join(out, basename(page, '.md'));
  await mkdir(folder, { recursive: true });
  for (const { 2: unchecked, 3: code, index } of markdown.matchAll(fence)) {
    if (unchecked) continue;
    const line = markdown.slice(0, index).split('\n').length;
    const name = /^\s*\/\/ file: (\S+\.ts)\s*$/m.exec(code.split('\n', 1)[0])?.[1];
    const file = join(folder, name ?? `line-${line}.ts`);
    if (origins.has(file)) throw new Error(`${page}:${line} names ${name} a second time.`);
    origins.set(file, page);
    await mkdir(join(file, '..'), { recursive: true });
    // Blank lines first, so that the compiler's line numbers are those of the page.
    await writeFile(file, '\n'.repeat(line) + code);
  }
}
if (origins.size === 0) throw new Error('No example found: README.md and docs/ have no ts block.');

await writeFile(
  join(out, 'tsconfig.json'),
  JSON.stringify({
    extends: '../tsconfig.json',
    compilerOptions: { rootDir: '..', types: ['node'], moduleDetection: 'force' },
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
