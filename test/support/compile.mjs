// Plain JavaScript, because global setup needs it before anything compiles TypeScript imports for it.
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from '@swc/core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Compiles what is in these folders of the repository into `out`, beside its packages. A process that starts
 * from there takes half the time of one that compiles for itself. Who names the library there, as the sample does,
 * gets these sources of it.
 */
export async function compileInto(out, folders) {
  const sources = (await Promise.all(folders.map(sourcesOf))).flat();
  await Promise.all([
    symlink(join(ROOT, 'node_modules'), join(out, 'node_modules')),
    writeFile(join(out, 'package.json'), await packageOfSources()),
    ...sources.map((source) => compile(source, out)),
  ]);
}

async function packageOfSources() {
  const { name, type, exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const sources = Object.entries(exports).map(([path, { default: built }]) => [
    path,
    built?.replace('./dist/', './src/'),
  ]);
  return JSON.stringify({ name, type, exports: Object.fromEntries(sources) });
}

async function sourcesOf(folder) {
  const names = await readdir(join(ROOT, folder), { recursive: true });
  return names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('spec.ts'))
    .map((name) => join(folder, name));
}

async function compile(source, out) {
  const filename = join(ROOT, source);
  const { code } = await transform(await readFile(filename, 'utf8'), {
    filename,
    sourceMaps: false,
  });
  const target = join(out, source.replace(/\.ts$/, '.js'));
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
}
