import { Inject, Injectable, Logger } from '@nestjs/common';
import { windowOf } from '../engine/key-time.js';
import { stepNames } from '../engine/steps.js';
import { RECORD_STATES, type RecordState, type StoredRecord } from '../engine/store.js';
import { resolution, type KnownOutcome, type Verdict } from '../engine/unknown-outcome.js';
import type { IdempotencyKey } from '../execute-options.js';
import { operationSettings } from '../idempotency.settings.js';
import type { ListOptions } from '../list-options.js';
import { checkVerdict, encodeKnown } from '../operator-verdict.js';
import { misconfigured } from '../options-check.js';
import { recordView, type IdempotencyRecordView } from '../record-view.js';
import { DASHBOARD_OPTIONS } from './dashboard.constants.js';
import type { DashboardOptions } from './dashboard.options.js';
import { Inspected } from './inspected.js';
import { maskedRecord, type RecordOnPage } from './masked.js';

const WHERE = 'IdempotencyDashboardModule';
const PAGE = 50;
const MOST_COUNTED = 10_000;

/** What may be done to a record, by the state that it must be in; `undefined`: in any but `in-progress`. */
const ACTIONS = {
  absent: 'uncertain',
  done: 'uncertain',
  resolve: 'uncertain',
  redrive: 'parked',
  discard: 'parked',
  forget: undefined,
} as const satisfies Record<string, RecordState | undefined>;
export type RecordAction = keyof typeof ACTIONS;

export function isRecordAction(name: string): name is RecordAction {
  return Object.hasOwn(ACTIONS, name);
}

/** Shows records, and carries out what operators decide about them. */
@Injectable()
export class DashboardRecords {
  private readonly logger = new Logger('IdempotencyDashboard');

  constructor(
    @Inject(Inspected) private readonly app: Inspected,
    @Inject(DASHBOARD_OPTIONS) private readonly options: DashboardOptions,
  ) {}

  async overview() {
    const counts: Record<string, number> = {};
    // one after the other: each may read the whole table
    for (const state of [...RECORD_STATES, 'expired'] as const) {
      counts[state] = await this.app.service.count({ state }, MOST_COUNTED);
    }
    const isRevealed = this.options.reveal === true;
    const hasOutbox = this.app.outbox !== undefined;
    return { store: this.app.engine.store.name, counts, most: MOST_COUNTED, isRevealed, hasOutbox };
  }

  /** A page of records, and the id to go on after, if there may be more. */
  async list(filter: Pick<ListOptions, 'state' | 'scope' | 'after'>) {
    const records = await this.app.service.list({ ...filter, limit: PAGE });
    return {
      records: records.map((record) => this.shown(record)),
      next: records.length === PAGE ? records.at(-1)?.id : null,
    };
  }

  async find(key: IdempotencyKey) {
    const record = await this.app.service.find(key);
    return { records: record === null ? [] : [this.shown(record)], next: null };
  }

  /** A record and the names of its steps. */
  async show(id: string) {
    const { store } = this.app.engine;
    const record = await store.find(id);
    if (record === null) {
      return null;
    }
    return { record: this.shown(recordView(record)), steps: await this.stepsOf(id) };
  }

  /**
   * True when it counted. What somebody decided about one attempt is not carried out on the next, which `fence` tells
   * apart.
   *
   * @param read reads what became of it, for `resolve`
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an outcome that does not fit the record
   */
  async act(
    action: RecordAction,
    id: string,
    fence: string,
    read: () => Promise<unknown>,
  ): Promise<boolean> {
    const record = await this.app.engine.store.find(id);
    const isSame = record !== null && String(record.fence) === fence;
    const wanted = ACTIONS[action];
    if (!isSame || record.state !== (wanted ?? record.state)) {
      return false;
    }
    const counted = await this.carryOut(action, record, read);
    if (counted) {
      this.logger.log(`Record ${id}: '${action}' by hand.`);
    }
    return counted;
  }

  private async carryOut(
    action: RecordAction,
    record: StoredRecord,
    read: () => Promise<unknown>,
  ): Promise<boolean> {
    const { store } = this.app.engine;
    switch (action) {
      case 'forget':
        return store.forget(record.id);
      case 'absent':
      case 'redrive':
        return store.resolve(record.id, 'absent', record.owner);
      case 'done':
      case 'discard':
        return this.settle(record, 'done');
      case 'resolve': {
        const verdict: unknown = await read();
        checkVerdict(verdict, WHERE);
        return this.settle(record, verdict);
      }
    }
  }

  private async settle(record: StoredRecord, verdict: Verdict): Promise<boolean> {
    const { store } = this.app.engine;
    const { maxResultBytes } = operationSettings(this.app.settings, {}, WHERE);
    const encode = (known: KnownOutcome): Uint8Array => {
      if (record.operation === null) {
        throw misconfigured(
          WHERE,
          'the record does not hold its operation, so nobody knows what its outcome looks like. ' +
            'Write IdempotencyService.resolve() with its key.',
        );
      }
      return encodeKnown(record.operation, known, maxResultBytes, WHERE);
    };
    const ttlMs = this.ttlOf(record, await store.ping());
    return store.resolve(record.id, resolution(verdict, encode, ttlMs), record.owner);
  }

  /** Of a key that is not kept as it was, nobody knows how long it passes for a fresh one: at most twice as long. */
  private ttlOf({ key }: StoredRecord, now: number): number {
    const { settings } = this.app;
    const { ttlMs } = operationSettings(settings, {}, WHERE).policy;
    const isWhole = key !== null && settings.options.maskKey === undefined;
    return isWhole ? windowOf(key, ttlMs, now) : 2 * ttlMs;
  }

  /** `null` where they cannot be read: they must not keep the record from people. */
  private async stepsOf(id: string): Promise<string[] | null> {
    const bytes = await this.app.engine.store.findSteps(id);
    try {
      return stepNames(bytes);
    } catch {
      return null;
    }
  }

  private shown(record: IdempotencyRecordView): RecordOnPage {
    return this.options.reveal === true ? record : maskedRecord(record);
  }
}
