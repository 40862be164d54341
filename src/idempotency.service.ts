import { Inject, Injectable } from '@nestjs/common';
import { enclosing, isProtected } from './call-context.js';
import type { IdempotencyContext } from './engine/attempt.js';
import { IdempotencyEngine } from './engine/engine.js';
import { judgeFailure, statusOf } from './engine/failure-policy.js';
import type { BatchOptions, BatchWork } from './batch-options.js';
import { checkBatch } from './batch-check.js';
import { BatchRun } from './batch-run.js';
import { checkSameRequest } from './engine/answers.js';
import { checkStore } from './engine/check-store.js';
import { recordId, type Identity } from './engine/identity.js';
import { windowOf } from './engine/key-time.js';
import type { Operation } from './engine/operation.js';
import type { CountFilter } from './engine/store.js';
import type { Verdict } from './engine/unknown-outcome.js';
import { CleanupTask } from './cleanup/cleanup.task.js';
import type { ExecuteOptions, IdempotencyKey } from './execute-options.js';
import { checkExecuteOptions } from './handler-options-check.js';
import { IDEMPOTENCY_SETTINGS } from './idempotency.constants.js';
import { operationSettings, type ModuleSettings } from './idempotency.settings.js';
import { checkCount, listFilter, type ListOptions } from './list-options.js';
import { endParked, resolveByOperator } from './operator-verdict.js';
import { misconfigured } from './options-check.js';
import { payloadFingerprint } from './payload-fingerprint.js';
import { EXECUTE_OPERATION, identitiesOf, identityOf } from './record-names.js';
import { recordView, type IdempotencyRecordView } from './record-view.js';
import { encodeValueVerdict } from './value-codec.js';
import { runForValue } from './value-run.js';

/** Idempotency for code that no decorator reaches, and the records for people who look after them. */
@Injectable()
export class IdempotencyService {
  constructor(
    private readonly engine: IdempotencyEngine,
    private readonly cleanup: CleanupTask,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings,
  ) {}

  /**
   * Runs `work` once for this key and answers its result to every retry. Results keep their types (Date,
   * BigInt, Map, Buffer, `undefined`); one that cannot be kept (a class instance, a function, more than
   * `maxResultBytes`) reaches the first caller only. Inside an operation of the same key it just runs.
   *
   * @throws what `work` throws; IdempotencyError with `…_KEY_INVALID`, `…_KEY_REUSED` (another payload),
   *   `…_IN_PROGRESS`, `…_KEY_EXPIRED`, `…_OUTCOME_UNCERTAIN`, `…_PARKED`, `…_RESULT_UNAVAILABLE`,
   *   `…_STEPS_CHANGED`, `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT`, `…_RECORD_UNREADABLE`,
   *   `…_STORE_UNAVAILABLE`, `…_SHUTTING_DOWN` or `…_MISCONFIGURED`
   */
  async execute<T>(
    options: ExecuteOptions,
    work: (once: IdempotencyContext) => T | Promise<T>,
  ): Promise<T> {
    const { key, scope, operation: name, payload, ...policies } = options;
    const identity = this.identity({ key, scope, operation: name ?? EXECUTE_OPERATION });
    const id = recordId(identity);
    const where = `IdempotencyService.execute() of '${identity.operation}'`;
    if (typeof work !== 'function') {
      throw misconfigured(
        where,
        'there is nothing to run. Write a function as its second argument.',
      );
    }
    checkExecuteOptions(policies, where);
    const settings = operationSettings(this.module, policies, where);
    const operation: Operation = {
      identity,
      id,
      fingerprint: payloadFingerprint(identity, payload),
      handler: identity.operation,
      policy: settings.policy,
      isInner: isProtected(),
      encodeVerdict: (verdict) => encodeValueVerdict(verdict, settings.maxResultBytes, where),
    };
    const outer = enclosing(id);
    if (outer?.once !== undefined && outer.operation !== undefined) {
      checkSameRequest(outer.operation.fingerprint, operation.fingerprint);
      return work(outer.once);
    }

    const end = await runForValue<T>(this.engine, {
      operation,
      where,
      maxResultBytes: settings.maxResultBytes,
      judge: (error) => judgeFailure(settings.errors, error, { status: statusOf(error) }),
      work,
    });
    if ('error' in end) {
      throw end.error;
    }
    return end.value;
  }

  /**
   * Runs `work` once with all items that nobody has processed yet, and answers one result for each item, in their
   * order. With `mode: 'transactional'` its effects and all records commit together, or none does; with `'lease'` all
   * keys are claimed together, and all results are recorded together when it has ended. When it throws, every item of
   * it may run again. An item that is being processed elsewhere is an error before anything runs; with
   * `onConcurrent: 'wait'` it is waited for after the others. With `each: true` items are processed one by one.
   *
   * @throws as `execute()`, and what an item's earlier attempt has thrown if that was stored; with `each` only
   *   `…_KEY_INVALID` and `…_MISCONFIGURED`
   */
  executeBatch<T, R>(
    options: BatchOptions<T> & { readonly each: true },
    work: BatchWork<T, R>,
  ): Promise<PromiseSettledResult<R>[]>;
  executeBatch<T, R>(
    options: BatchOptions<T> & { readonly each?: false },
    work: BatchWork<T, R>,
  ): Promise<R[]>;
  async executeBatch<T, R>(
    options: BatchOptions<T>,
    work: BatchWork<T, R>,
  ): Promise<R[] | PromiseSettledResult<R>[]> {
    const { items, key, payload, scope, operation: name, each, ...policies } = options;
    const operation = name ?? EXECUTE_OPERATION;
    const where = `IdempotencyService.executeBatch() of '${operation}'`;
    checkBatch(options, work, where);
    checkExecuteOptions(policies, where);
    const settings = operationSettings(this.module, policies, where);
    const { attempts } = settings.policy;
    const operations = items.map((item, index): Operation => {
      const identity = this.identity({ key: key(item, index), scope, operation });
      return {
        identity,
        id: recordId(identity),
        fingerprint: payloadFingerprint(identity, payload?.(item, index)),
        handler: operation,
        // of items that fail together none is known to be the one that fails
        policy: { ...settings.policy, attempts: each === true ? attempts : undefined },
        isInner: isProtected(),
        encodeVerdict: (verdict) => encodeValueVerdict(verdict, settings.maxResultBytes, where),
      };
    });
    const { maxResultBytes, errors } = settings;
    const batch = { items, operations, where, maxResultBytes, errors };
    const run = new BatchRun<T, R>(this.engine, batch, work);
    return each === true ? run.each() : run.together();
  }

  /** The live record of a key, or `null`. */
  async find(key: IdempotencyKey): Promise<IdempotencyRecordView | null> {
    for (const id of this.ids(key)) {
      const record = await this.engine.store.find(id);
      if (record !== null) {
        return recordView(record);
      }
    }
    return null;
  }

  /**
   * Live records, page by page, for example all `uncertain` ones.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a `limit` that is none.
   */
  async list(options: ListOptions = {}): Promise<IdempotencyRecordView[]> {
    const filter = listFilter(options, 'IdempotencyService.list()');
    return (await this.engine.store.list(filter)).map(recordView);
  }

  /**
   * How many records there are, or `upTo` where there are more: live ones, or expired ones that wait for clean-up. A
   * database may read its whole table for that.
   *
   * @param upTo 1 to 1,000,000; default: 10,000
   * @throws IdempotencyError `…_MISCONFIGURED` for a state or an `upTo` that is none; `…_STORE_UNAVAILABLE`
   */
  async count(filter: CountFilter = {}, upTo = 10_000): Promise<number> {
    checkCount(filter, upTo);
    return this.engine.store.countRecords(filter, upTo);
  }

  /**
   * Resolves when the store answers and can work.
   *
   * @throws IdempotencyError `…_STORE_UNAVAILABLE`; `…_MISCONFIGURED` for a table that is missing or older than this
   *   version
   */
  async ping(): Promise<void> {
    await checkStore(this.engine.store);
  }

  /**
   * Removes a key's record, so that the next request with it runs. A running attempt is left alone. True
   * when there was a record. Other processes replay it until `replayCache.maxAge` is over, if they have that.
   */
  async forget(key: IdempotencyKey): Promise<boolean> {
    let removed = false;
    for (const id of this.ids(key)) {
      removed = (await this.engine.store.forget(id)) || removed;
    }
    return removed;
  }

  /**
   * Gives an uncertain record the outcome that somebody has found out: `'absent'` lets the next request with
   * its key run, behind its finished steps; `'done'`, `{ result }` (of `execute()` or a method) or
   * `{ response }` (of a request) is what retries get from now on, for the module's `ttl`. True when it
   * counted; false when the record is not uncertain (any more), or its attempt may still be alive.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a verdict that is none, does not fit the entry point
   *   or cannot be kept.
   */
  async resolve(key: IdempotencyKey, verdict: Verdict): Promise<boolean> {
    const where = 'IdempotencyService.resolve()';
    const { policy, maxResultBytes } = operationSettings(this.module, {}, where);
    const identities = identitiesOf(this.module.namespace, key);
    const settings = { ttlMs: policy.ttlMs, maxResultBytes };
    return resolveByOperator(this.engine.store, identities, verdict, settings, where);
  }

  /**
   * Lets a parked operation begin anew, behind its finished steps, when it is tried next: its attempts are counted
   * from the beginning. True when there was one.
   */
  redrive(key: IdempotencyKey): Promise<boolean> {
    return endParked(this.engine.store, this.ids(key), 'absent');
  }

  /**
   * Gives a parked operation up: retries get `IDEMPOTENCY_RESULT_UNAVAILABLE` for the module's `ttl`, and messages
   * are skipped. True when there was one.
   */
  async discard(key: IdempotencyKey): Promise<boolean> {
    const { store } = this.engine;
    const { policy } = operationSettings(this.module, {}, 'IdempotencyService.discard()');
    const ttlMs = windowOf(key.key, policy.ttlMs, await store.ping());
    return endParked(store, this.ids(key), { result: null, ttlMs });
  }

  /** Deletes every expired record now, in batches. Answers how many. */
  deleteExpired(): Promise<number> {
    return this.cleanup.deleteExpired();
  }

  private ids(key: IdempotencyKey): string[] {
    return identitiesOf(this.module.namespace, key).map(recordId);
  }

  private identity(name: { key: string; scope: string | undefined; operation: string }): Identity {
    return identityOf(this.module.namespace, name);
  }
}
