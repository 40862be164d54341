import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from '@swc/core';
import { temporaryFolder, type TemporaryFolder } from './temporary.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Compiles the library and the applications once, into a temporary folder. A process
 * that starts from there takes half the time of one that compiles for itself, and chaos starts hundreds.
 */
export async function buildApplications(): Promise<TemporaryFolder> {
  const folder = await temporaryFolder('build');
  const out = folder.path;
  const sources = [
    ...(await sourcesOf('src')),
    ...(await sourcesOf('test/chaos/app')),
    ...(await sourcesOf('test/chaos/bad')),
  ];
  await Promise.all([
    symlink(join(ROOT, 'node_modules'), join(out, 'node_modules')),
    writeFile(join(out, 'package.json'), '{ "type": "module" }'),
    ...sources.map((source) => compile(source, out)),
  ]);
  return folder;
}

async function sourcesOf(folder: string): Promise<string[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true });
  return names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
    .map((name) => join(folder, name));
}

async function compile(source: string, out: string): Promise<void> {
  const filename = join(ROOT, source);
  const { code } = await transform(await readFile(filename, 'utf8'), {
    filename,
    sourceMaps: false,
  });
  const target = join(out, source.replace(/\.ts$/, '.js'));
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
}
