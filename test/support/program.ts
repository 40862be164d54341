import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Where the sources of this repository are, as a URL. */
const HERE = new URL('../../', import.meta.url).href;

/**
 * Starts a program of this folder in a process of its own, from what global setup has compiled. Sources that
 * `NODE_OPTIONS` names are loaded from there too.
 *
 * @param name its file, without an extension
 * @param given what the program reads from its first argument
 */
export function startProgram(
  name: string,
  given: unknown,
  { env = process.env, ...options }: ForkOptions = {},
): ChildProcess {
  const compiled = process.env.TEST_PROGRAMS as string;
  const file = join(compiled, 'test/support', `${name}.js`);
  const NODE_OPTIONS = env.NODE_OPTIONS?.replaceAll(HERE, `${pathToFileURL(compiled).href}/`);
  return fork(file, [JSON.stringify(given)], {
    ...options,
    env: { ...env, ...(NODE_OPTIONS !== undefined && { NODE_OPTIONS }) },
  });
}
