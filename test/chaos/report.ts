import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fight, Result } from './arena.js';
import { acknowledged, recorded } from './checker.js';
import type { Call } from './history.js';
import { groupBy } from './group-by.js';

const SHOWN_VIOLATIONS = 5;

/** What a run was, in a few lines. */
export function describeRun(
  { configuration, seed }: Fight,
  { evidence, violations, faults, poolSize, seconds }: Result,
): string {
  const { history, attempts, ledger } = evidence;
  const { calls, intents } = history;
  const count = (certainty: string): number =>
    calls.filter((call) => call.certainty === certainty).length;
  const done = groupBy(history.faults, ({ fault }) => fault);
  const happened = faults.map((fault) => `${fault} ${done.get(fault)?.length ?? 0}`);
  const counted = acknowledged(calls, configuration);
  const unrecorded = calls.filter((call) => call.unrecorded === true);
  return [
    `${configuration.name}: seed ${seed}, ${seconds.toFixed(1)} s, pool ${poolSize}`,
    `  faults: ${happened.join(', ')}`,
    `  operations: ${calls.length} (ok ${count('ok')}, fail ${count('fail')}, info ${count('info')})`,
    `  keys: ${intents.length}, acknowledged ${keysOf(counted)}, ` +
      `runs at the provider ${attempts.length}, ledger rows ${ledger.length}` +
      (unrecorded.length > 0
        ? `, answered while the store was away ${unrecorded.length} ` +
          `(${contradicted(unrecorded, calls)} otherwise later)`
        : ''),
    `  violations: ${violations.length}`,
    ...summary(violations),
  ].join('\n');
}

/** How many answers that could not be recorded are not the outcome that was recorded in the end. */
function contradicted(unrecorded: readonly Call[], calls: readonly Call[]): number {
  const bodies = new Map(recorded(calls).map(({ intent, body }) => [intent, body]));
  return unrecorded.filter(({ intent, body }) => bodies.get(intent) !== body).length;
}

function keysOf(calls: readonly { readonly intent: string }[]): number {
  return new Set(calls.map(({ intent }) => intent)).size;
}

function summary(violations: Result['violations']): string[] {
  return [...groupBy(violations, ({ rule }) => rule)].flatMap(([rule, own]) => [
    `    ${rule}: ${own.length}`,
    ...own
      .slice(0, SHOWN_VIOLATIONS)
      .map(({ intent, detail }) => `      ${intent ? `${intent}: ` : ''}${detail}`),
  ]);
}

/** Writes down everything about a run that failed, and says where. */
export async function dump({ configuration, seed }: Fight, result: Result): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-chaos-failed-'));
  const file = join(folder, `${configuration.name}-${seed}.json`);
  await writeFile(file, JSON.stringify({ configuration, seed, ...result }, null, 1));
  return file;
}
