// Lets a child process of a test run the sources as they are.
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { transform } from '@swc/core';

/** What is named by a URL that ends with `.js`, as it would be when it was compiled. */
const COMPILED = ['src', '.docs-run'].map(
  (path) => new URL(`../../${path}/`, import.meta.url).href,
);

if (isMainThread) register(import.meta.url);

export async function resolve(specifier, context, next) {
  const isSource =
    (specifier.startsWith('.') && context.parentURL?.endsWith('.ts')) ||
    COMPILED.some((folder) => specifier.startsWith(folder));
  return next(isSource ? specifier.replace(/\.js$/, '.ts') : specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const filename = fileURLToPath(url);
  const { code } = await transform(await readFile(filename, 'utf8'), { filename });
  return { format: 'module', source: code, shortCircuit: true };
}
