import { symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { compileInto } from '../support/compile.mjs';
import { temporaryFolder, type TemporaryFolder } from './temporary.js';

/** Compiles the library and the applications once, into a temporary folder: chaos starts hundreds of processes. */
export function buildApplications(): Promise<TemporaryFolder> {
  return build('src', 'test/chaos/app', 'test/chaos/bad');
}

/** The same for the services of the sample. */
export async function buildServices(): Promise<TemporaryFolder> {
  const folder = await build('src', 'sample-app/src', 'test/chaos/messages');
  const page = 'src/dashboard/page';
  await symlink(resolve(page), join(folder.path, page));
  return folder;
}

async function build(...sources: string[]): Promise<TemporaryFolder> {
  const folder = await temporaryFolder('build');
  await compileInto(folder.path, sources);
  return folder;
}
