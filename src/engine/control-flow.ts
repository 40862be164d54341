/** By which frameworks steer what they run. By name: they need not be installed, or be the same copy. */
const STEERING = new Set([
  // BullMQ: the job was moved, and comes again
  'DelayedError',
  'WaitingChildrenError',
  'WaitingError',
  // Nest on Kafka
  'KafkaRetriableException',
]);

/** By its text alone BullMQ itself knows its RateLimitError; others have errors of that name, and mean a failure. */
const RATE_LIMITED = 'bullmq:rateLimitExceeded';

/**
 * Whether what was thrown is neither success nor failure, but a word to the framework that runs the handler: run
 * it again later.
 */
export function isControlFlow(error: unknown): boolean {
  if (!(error instanceof Error)) {
    return false;
  }
  if (error.message === RATE_LIMITED) {
    return true;
  }
  const { retriable } = error as { retriable?: unknown };
  return namesOf(error).some(
    (name) => STEERING.has(name) || (retriable === true && name.startsWith('KafkaJS')),
  );
}

/** Its own, and those of the classes that it is of. */
function namesOf(error: Error): string[] {
  const names = [error.name];
  let prototype = Object.getPrototypeOf(error) as object | null;
  while (prototype !== null && prototype !== Error.prototype) {
    names.push(prototype.constructor.name);
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
  return names;
}
