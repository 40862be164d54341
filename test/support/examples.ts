import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { examplesOf } from '../../tools/doc-examples.mjs';

/** The examples of a page of the documentation, as modules that can be run. */
export interface Examples {
  /** Imports the block whose first line is `// file: name.ts`. */
  load<T>(name: string): Promise<T>;
  /** Where a block is, for a process that runs it. */
  pathOf(name: string): string;
  remove(): Promise<void>;
}

const ROOT = join(import.meta.dirname, '../..');

/** Writes them into the project, where they find what they import. */
export async function examples(page: string): Promise<Examples> {
  const folder = join(ROOT, '.docs-run', basename(page, '.md'));
  await rm(folder, { recursive: true, force: true });
  for (const { name, code } of await examplesOf(join(ROOT, page))) {
    const file = join(folder, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, code);
  }
  return {
    pathOf: (name) => join(folder, name),
    load: (name) => import(pathToFileURL(join(folder, name)).href),
    remove: () => rm(folder, { recursive: true }),
  };
}
