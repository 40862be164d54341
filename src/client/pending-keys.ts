import { IdempotencyClientError } from './errors.js';
import type { Verdict } from './verdict.js';

type MaybePromise<T> = T | PromiseLike<T>;

/**
 * Where the keys of pending intents are kept. `localStorage`, `sessionStorage` and React Native's `AsyncStorage` are
 * such storages.
 */
export interface KeyStorage {
  getItem(name: string): MaybePromise<string | null | undefined>;
  setItem(name: string, value: string): unknown;
  removeItem(name: string): unknown;
}

const items = new Map<string, string>();

/** The default: until the page or the process ends. */
export const memoryStorage: KeyStorage = {
  getItem: (name) => items.get(name),
  setItem: (name, value) => items.set(name, value),
  removeItem: (name) => items.delete(name),
};

interface Entry {
  readonly value: string;
  /** How many calls have used it, over all pages that share the storage. */
  readonly calls: number;
}

/** The key of an intent that has no outcome yet: every call for the intent uses the same. */
export class PendingKey {
  private constructor(
    private readonly storage: KeyStorage,
    private readonly name: string,
    readonly value: string,
  ) {}

  /** @param make makes the value where the intent has none */
  static take(
    storage: KeyStorage,
    intent: string,
    make: () => MaybePromise<string>,
  ): Promise<PendingKey> {
    const name = nameOf(intent);
    return inTurn(name, async () => {
      const found = await read(storage, name).catch(failed);
      const value = found?.value ?? (await make());
      const item = `${(found?.calls ?? 0) + 1} ${value}`;
      await (async () => storage.setItem(name, item))().catch(failed);
      return new PendingKey(storage, name, value);
    });
  }

  /**
   * Forgets the key when nothing can have happened under it that nobody knows of.
   *
   * @param hadRetries whether an earlier try of this call is left without an answer
   */
  async settle(verdict: Verdict, hadRetries: boolean): Promise<void> {
    await inTurn(this.name, async () => {
      const found = await read(this.storage, this.name);
      const isOver = verdict === 'outcome' || (verdict === 'refusal' && !hadRetries);
      // a later intent of the same name has another key; a refusal speaks for the call that got it only
      if (isOver && found?.value === this.value && (verdict === 'outcome' || found.calls === 1)) {
        await this.storage.removeItem(this.name);
      }
      // the answer is worth more: with its old key the intent is answered once more, and nothing happens twice
    }).catch(() => undefined);
  }
}

/**
 * Gives a pending intent up: the next call for it has a new key. Needed after answers that leave it open, such as
 * `IDEMPOTENCY_OUTCOME_UNCERTAIN`, once it is known what has happened.
 *
 * @param storage the one that the calls were given
 */
export async function forgetIntent(intent: string, storage = memoryStorage): Promise<void> {
  const name = nameOf(intent);
  await inTurn(name, async () => storage.removeItem(name));
}

function failed(cause: unknown): never {
  throw new IdempotencyClientError(
    'IDEMPOTENCY_STORAGE_FAILED',
    'The key of this intent could not be kept, so nothing was sent. Repair the storage, or use another one.',
    { cause },
  );
}

function nameOf(intent: string): string {
  return `idempotency-key:${intent}`;
}

async function read(storage: KeyStorage, name: string): Promise<Entry | undefined> {
  const text = await storage.getItem(name);
  if (text === null || text === undefined) {
    return undefined;
  }
  const [, calls, value] = /^(\d+) (.+)$/.exec(text) ?? [];
  if (value === undefined) {
    throw new Error(`The item ${name} of the storage is not a key. Remove it.`);
  }
  return { value, calls: Number(calls) };
}

const turns = new Map<string, Promise<unknown>>();

/** One after the other: two calls at once find one key also where the storage takes its time. */
function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
  const before = turns.get(name) ?? Promise.resolve();
  const turn = before.then(work, work);
  turns.set(name, turn);
  const end = (): void => {
    if (turns.get(name) === turn) {
      turns.delete(name);
    }
  };
  turn.then(end, end);
  return turn;
}
