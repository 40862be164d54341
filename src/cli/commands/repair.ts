import type { StoredRecord } from '../../engine/store.js';
import { moduleSettings, operationSettings } from '../../idempotency.settings.js';
import { toMilliseconds, type Duration } from '../../engine/duration.js';
import { checkVerdict, resolveAttempt } from '../../operator-verdict.js';
import { Refusal, UsageError, usageOf } from '../failures.js';
import type { Session } from '../session.js';
import { describe, Target } from '../target.js';

export async function forget(session: Session): Promise<void> {
  const target = Target.of(session.values);
  const store = await session.store();
  const record = await target.find(store);
  await session.confirm(
    record === null
      ? 'There is no live record. Remove what may be left of a dead one, steps included?'
      : `Forget ${describe(record)}, so that the next request with its key runs?`,
  );
  if (record === null) {
    for (const id of target.ids) await store.forget(id);
    throw new Refusal('There was no live record.');
  }
  if (!(await store.forget(record.id))) {
    throw new Refusal('Nothing was forgotten: an attempt is running, or the record is gone.');
  }
  done(session, 'forgotten', record);
}

export async function redrive(session: Session): Promise<void> {
  const target = Target.of(session.values);
  const store = await session.store();
  const record = inState('parked', await target.require(store));
  await session.confirm(`Let ${describe(record)} begin anew when it is tried next?`);
  if (!(await store.resolve(record.id, 'absent', record.owner))) throw overtaken();
  done(session, 'redriven', record);
}

export async function resolve(session: Session): Promise<void> {
  const target = Target.of(session.values);
  const verdict = verdictIn(session.values.verdict);
  const settings = verdict === 'absent' ? undefined : keeping(session.values.ttl);
  const store = await session.store();
  const record = inState('uncertain', await target.require(store));
  const identity = target.identityOf(record);
  if (identity === undefined && settings !== undefined) {
    throw new UsageError(
      'The record does not hold its key as it was sent, and how long to keep the outcome may depend on it. ' +
        'Name it by --key, --scope and --namespace.',
    );
  }
  await session.confirm(`Resolve ${describe(record)} as it was said?`);
  const isResolved =
    identity === undefined || settings === undefined
      ? await store.resolve(record.id, 'absent', record.owner)
      : await resolveAttempt(store, record, identity, verdict, settings, 'resolve');
  if (!isResolved) throw overtaken();
  done(session, 'resolved', record);
}

function verdictIn(given: string | undefined) {
  if (given === undefined) {
    throw new UsageError(`Write what became of it: --verdict absent, done, or JSON. See --help.`);
  }
  let verdict: unknown = given;
  if (given.startsWith('{')) {
    try {
      verdict = JSON.parse(given);
    } catch {
      throw new UsageError('The --verdict begins like JSON, and is none.');
    }
  }
  return usageOf(() => {
    checkVerdict(verdict, 'resolve');
    return verdict;
  });
}

/** The application alone knows its `ttl`; one that is shorter would let a late retry run again. */
function keeping(ttl: string | undefined) {
  if (ttl === undefined) {
    throw new UsageError('Write how long the outcome is kept: --ttl, as in the application.');
  }
  if (toMilliseconds(ttl) === undefined) {
    throw new UsageError(`--ttl is '${ttl}'. Write a number and its unit, such as 30m, 24h or 7d.`);
  }
  return usageOf(() => {
    const module = moduleSettings({ ttl: ttl as Duration });
    const { policy, maxResultBytes } = operationSettings(module, {}, 'resolve');
    return { ttlMs: policy.ttlMs, maxResultBytes };
  });
}

function inState(state: 'parked' | 'uncertain', record: StoredRecord): StoredRecord {
  if (record.state !== state) {
    throw new Refusal(`Nothing was changed: the record is ${record.state}, not ${state}.`);
  }
  return record;
}

function overtaken(): Refusal {
  return new Refusal('Nothing was changed: somebody else was faster, or its attempt may be alive.');
}

function done(session: Session, what: string, { id }: StoredRecord): void {
  session.answer({ [what]: true, id }, `${what} ${id}`);
}
