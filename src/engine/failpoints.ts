type FailpointAction = () => void | Promise<void>;

/** Undefined in production, so that a failpoint costs one comparison. */
let actions: Map<string, FailpointAction> | undefined;

/**
 * Runs `action` whenever an operation passes the named point, so that a test can crash, pause or
 * fail it exactly there. Points, in the order an operation passes them: `claim:before`,
 * `claim:after`, `handler:before`, `handler:after`, `complete:before`, `complete:after`, `respond`;
 * besides `renew`, `release:before` and `cleanup`.
 */
export function setFailpoint(name: string, action: FailpointAction): void {
  actions ??= new Map();
  actions.set(name, action);
}

/** Removes every failpoint. */
export function clearFailpoints(): void {
  actions = undefined;
}

/** Returns undefined unless a test has set something here: `const hit = failpoint('x'); if (hit) await hit;` */
export function failpoint(name: string): void | Promise<void> {
  return actions?.get(name)?.();
}
