/** The client itself sends no more of them than its `heartbeatInterval` asks for. */
const INTERVAL_MS = 1_000;

/** Keeps the consumer in its group for as long as the work takes, however long it waits. */
export async function withHeartbeats<T>(
  heartbeat: (() => Promise<void>) | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (heartbeat === undefined) {
    return work();
  }
  const timer = setInterval(() => {
    // a member that was expelled learns it from its next fetch
    void heartbeat().catch(() => undefined);
  }, INTERVAL_MS).unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
