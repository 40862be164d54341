import type { Failpoint } from '../engine/failpoints.js';

/** Where a process can be made to die, in the order in which an operation comes by. */
const FAILPOINTS = {
  'before-claim': ['claim:before', 'begin:before'],
  'after-claim': ['claim:after', 'begin:after'],
  'after-effect-started': ['effect:after'],
  'before-step-record': ['step:before'],
  'after-step-record': ['step:after'],
  'before-record': ['complete:before'],
  'before-commit': ['commit:before'],
  'after-record': ['complete:after'],
} as const satisfies Record<string, readonly Failpoint[]>;

/** A point that an operation passes: `before` or `after` something is durable. In neither case has anybody been told. */
export type CrashPoint = keyof typeof FAILPOINTS;

/** @throws RangeError for a name that is none of them */
export function failpointsOf(point: string): readonly Failpoint[] {
  if (!Object.hasOwn(FAILPOINTS, point)) {
    const names = Object.keys(FAILPOINTS).join(', ');
    throw new RangeError(`There is no point '${point}' to crash at. Write one of: ${names}.`);
  }
  return FAILPOINTS[point as CrashPoint];
}
