import { deleteExpired } from '../../cleanup/delete-expired.js';
import type { Session } from '../session.js';

/** Longer than the application waits: nobody's request is behind it. */
const STORE_TIMEOUT_MS = 60_000;

export async function cleanup(session: Session): Promise<void> {
  const store = await session.store();
  const { signal } = new AbortController();
  const deleted = await deleteExpired(store, {
    storeTimeoutMs: STORE_TIMEOUT_MS,
    signal,
    warn: (sentence) => session.note(sentence),
  });
  session.answer({ deleted }, `deleted ${deleted} expired records`);
}
