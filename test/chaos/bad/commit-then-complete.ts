import type {
  ClaimRequest,
  CompleteRequest,
  IdempotencyStore,
  StoreTransaction,
  StoreTransactions,
} from '../../../src/engine/store.js';
import { changed } from './changed.js';

/** Commits the work first and writes the outcome down afterwards, as who has no record in the transaction must. */
export function commitThenComplete(sound: IdempotencyStore): IdempotencyStore {
  const transactions = sound.transactions as StoreTransactions;
  const begin: StoreTransactions['begin'] = async (request, watch) => {
    const claim = await sound.claim(request);
    if (claim.type === 'held') {
      return claim;
    }
    const work = await transactions.open(request.leaseMs, watch);
    return { ...claim, transaction: apart(sound, request, work) };
  };
  return changed(sound, { transactions: changed(transactions, { begin }) });
}

/** The transaction of the work, without its record. */
function apart(
  sound: IdempotencyStore,
  request: ClaimRequest,
  work: StoreTransaction,
): StoreTransaction {
  let completion: CompleteRequest | undefined;
  let isOver = false;
  const end = async (how: () => Promise<void>): Promise<void> => {
    if (!isOver) {
      isOver = true;
      await how();
      await sound.release(request);
    }
  };
  return changed(work, {
    complete: async (given) => {
      completion = given;
      return true;
    },
    commit: async () => {
      isOver = true;
      await work.commit();
      await sound.complete(completion as CompleteRequest);
    },
    rollback: () => end(() => work.rollback()),
    abandon: () => end(() => work.abandon()),
  });
}
