/** Where an operation may be crashed, paused or failed, in the order in which it passes the points. */
export type Failpoint =
  | 'claim:before'
  | 'claim:after'
  | 'begin:before'
  | 'begin:after'
  | 'handler:before'
  | 'step:before'
  | 'step:after'
  | 'effect:after'
  | 'handler:after'
  | 'complete:before'
  | 'complete:after'
  | 'commit:before'
  | 'commit:after'
  | 'release:before'
  | 'respond'
  | 'renew'
  | 'cleanup';

type FailpointAction = () => unknown;

/** Undefined in production, so that a failpoint costs one comparison. */
let actions: Map<Failpoint, FailpointAction> | undefined;

/**
 * Runs `action` whenever an operation passes the named point, so that a test can crash, pause or
 * fail it exactly there.
 */
export function setFailpoint(name: Failpoint, action: FailpointAction): void {
  actions ??= new Map();
  actions.set(name, action);
}

/** Removes every failpoint. */
export function clearFailpoints(): void {
  actions = undefined;
}

/** Returns undefined unless a test has set something here: `const hit = failpoint('x'); if (hit) await hit;` */
export function failpoint(name: Failpoint): unknown {
  return actions?.get(name)?.();
}
