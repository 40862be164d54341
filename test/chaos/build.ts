import { compileInto } from '../support/compile.mjs';
import { temporaryFolder, type TemporaryFolder } from './temporary.js';

/** Compiles the library and the applications once, into a temporary folder: chaos starts hundreds of processes. */
export async function buildApplications(): Promise<TemporaryFolder> {
  const folder = await temporaryFolder('build');
  await compileInto(folder.path, ['src', 'test/chaos/app', 'test/chaos/bad']);
  return folder;
}
