import { failpointsOf, type CrashPoint } from './crash-points.js';

/** Tells a process that has loaded `crash-process.js` where it dies. */
export const CRASH_AT = 'NESTJS_IDEMPOTENCY_CRASH_AT';

/**
 * Environment variables for a process of the application that kills itself with SIGKILL when an operation passes
 * `point`. They work through Node's own `--import`, so that nothing in the application has to know of it. A process with
 * `NODE_ENV=production` refuses them, and does not start.
 *
 * @param pass the how-manieth operation, or step, that passes it; default: 1
 * @returns `NODE_OPTIONS`, with what this process has there, and a variable of the library's
 * @throws RangeError for a point or a pass that is none
 */
export function crashAt(
  point: CrashPoint,
  { pass = 1 }: { readonly pass?: number } = {},
): Record<string, string> {
  failpointsOf(point);
  if (!Number.isInteger(pass) || pass < 1) {
    throw new RangeError(
      `An operation cannot pass for the ${pass}th time. Write a whole number from 1 on.`,
    );
  }
  const options = process.env.NODE_OPTIONS ?? '';
  const load = `--import=${new URL('./crash-process.js', import.meta.url).href}`;
  return { NODE_OPTIONS: `${options} ${load}`.trim(), [CRASH_AT]: `${point} ${pass}` };
}
