import type {
  BeginRequest,
  BeginResult,
  Claim,
  ClaimRequest,
  CompleteRequest,
  Escape,
  IdempotencyStore,
  StoreTransaction,
  StoreTransactions,
} from '../../../src/engine/store.js';
import { Bench } from './bench.js';
import type { Fault } from './probe-store.js';

type Call = 'begin' | 'open' | 'complete' | 'keepSteps' | 'commit' | 'rollback' | 'keepAlive';

/** What the database says when others were in the way, or when it refuses a statement. */
export const conflict = new Error('deadlock');
export const refusal = new Error('duplicate');

/**
 * Transactions over a store that has none: a record is written to it at the commit, and until then whoever
 * else asks for its key finds it busy. What a database would do of itself, a test makes it do.
 */
export class TransactionalStore implements StoreTransactions {
  /** As if the running code were inside of one. */
  inside = false;
  /** Every call so far. */
  readonly calls: Call[] = [];
  /** Keys that another process has in an open transaction. */
  readonly busy = new Set<string>();
  /** The one that was opened last. */
  current: Transaction | undefined;
  watch: (escape: Escape) => void = () => undefined;
  private readonly planned = new Map<Call, Fault[]>();

  constructor(readonly store: IdempotencyStore) {}

  /** The next calls meet these faults, one each. */
  plan(call: Call, ...faults: Fault[]): void {
    this.planned.set(call, faults);
  }

  count(call: Call): number {
    return this.calls.filter((other) => other === call).length;
  }

  isInside(): boolean {
    return this.inside;
  }

  begin(request: BeginRequest, watch: (escape: Escape) => void): Promise<BeginResult> {
    return this.met('begin', async () => {
      this.watch = watch;
      if (this.busy.has(request.id)) {
        return { type: 'busy' };
      }
      const now = await this.store.ping();
      const record = await this.store.find(request.id);
      const isOwn = record?.state === 'in-progress' && record.owner === request.owner;
      if (record !== null && !isOwn) {
        return { type: 'held', record, now };
      }
      this.busy.add(request.id);
      const transaction = new Transaction(this, request);
      this.current = transaction;
      if (request.keepStart === true) {
        const claim = await this.store.claim(request);
        return { ...(claim as Extract<typeof claim, { type: 'claimed' }>), transaction };
      }
      return {
        type: 'claimed',
        fence: 1n,
        attempt: 1,
        takenOver: false,
        steps: null,
        now,
        transaction,
      };
    });
  }

  open(_leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction> {
    return this.met('open', async () => {
      this.watch = watch;
      this.current = new Transaction(this);
      return this.current;
    });
  }

  async met<T>(call: Call, apply: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    const fault = this.planned.get(call)?.shift();
    return fault === undefined ? apply() : fault(apply);
  }
}

/** What `useTransactionalBench` gives to the test that runs. */
export let bench: Bench;
export let transactions: TransactionalStore;

/** A bench of its own for each test of a spec file. */
export function useTransactionalBench(): void {
  beforeEach(async () => {
    [bench, transactions] = await transactionalBench();
  });
  afterEach(() => bench.engine.stop());
}

/** A bench that has begun, and whose store has transactions. */
export async function transactionalBench(): Promise<[Bench, TransactionalStore]> {
  const bench = new Bench();
  const transactions = new TransactionalStore(bench.store);
  Object.assign(bench.store, { transactions });
  await bench.engine.start();
  return [bench, transactions];
}

class Transaction implements StoreTransaction {
  isLeft = false;
  /** As if the work had sent so many. */
  statements = 0;
  private outcome: (() => Promise<unknown>) | undefined;
  private isOver = false;

  constructor(
    private readonly transactions: TransactionalStore,
    private readonly request?: ClaimRequest,
  ) {}

  run<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  complete(request: CompleteRequest): Promise<boolean> {
    return this.transactions.met('complete', async () => {
      if (this.isLeft) {
        this.transactions.watch('ended');
        this.end();
        return false;
      }
      const { store } = this.transactions;
      this.outcome = async () => {
        await store.claim(this.request!);
        await store.complete(request);
      };
      return true;
    });
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    return this.transactions.met('keepSteps', async () => {
      if (this.isLeft) {
        this.transactions.watch('ended');
        this.end();
        return 'left';
      }
      const { store } = this.transactions;
      const record = await store.find(claim.id);
      this.outcome = () => store.keepSteps(claim, steps);
      return record?.owner === claim.owner ? 'kept' : 'lost';
    });
  }

  commit(): Promise<void> {
    return this.transactions.met('commit', async () => {
      await this.outcome?.();
      this.end();
    });
  }

  async rollback(): Promise<void> {
    if (!this.isOver) {
      await this.transactions.met('rollback', async () => this.end());
    }
  }

  async abandon(): Promise<void> {
    this.end();
  }

  keepAlive(): Promise<void> {
    return this.transactions.met('keepAlive', async () => {});
  }

  isConflict(error: unknown): boolean {
    return error === conflict;
  }

  isRefusal(error: unknown): boolean {
    return error === refusal || error === conflict;
  }

  /** What a COMMIT of the work itself leaves behind. */
  async leave(): Promise<void> {
    this.isLeft = true;
    const { store } = this.transactions;
    if (this.request !== undefined) {
      await store.claim(this.request);
      await store.markUncertain(this.request);
    }
  }

  private end(): void {
    this.isOver = true;
    if (this.request !== undefined) {
      this.transactions.busy.delete(this.request.id);
    }
  }
}
