import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { join } from 'node:path';

/**
 * Starts a program of this folder in a process of its own, from what global setup has compiled.
 *
 * @param name its file, without an extension
 * @param given what the program reads from its first argument
 */
export function startProgram(
  name: string,
  given: unknown,
  options: ForkOptions = {},
): ChildProcess {
  const file = join(process.env.TEST_PROGRAMS as string, 'test/support', `${name}.js`);
  return fork(file, [JSON.stringify(given)], options);
}
