import { readFile, readdir } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { transform } from '@swc/core';

const folder = new URL('../../src/client/', import.meta.url);

async function minified(names: readonly string[]): Promise<string> {
  const modules = names.map(async (name) => {
    const { code } = await transform(await readFile(new URL(name, folder), 'utf8'), {
      swcrc: false,
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript' },
        minify: { compress: true, mangle: { toplevel: true }, module: true },
      },
      module: { type: 'es6' },
      minify: true,
    });
    return code;
  });
  return (await Promise.all(modules)).join('\n');
}

/** Module by module: what a bundler makes of them is smaller. */
const gzipped = (code: string): number => gzipSync(code, { level: 9 }).length;

it('is less than 4 KiB that a page has to load', async () => {
  const all = (await readdir(folder)).filter((name) => name.endsWith('.ts'));
  const withoutAxios = all.filter((name) => name !== 'axios.ts');
  expect(gzipped(await minified(withoutAxios))).toBeLessThan(3_500);
  expect(gzipped(await minified(all))).toBeLessThan(4_096);
});
