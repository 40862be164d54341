import type { Failpoint } from '../../src/engine/failpoints.js';
import type { TestDialect } from '../support/databases.js';
import type { Intent, Strike } from './app/options.js';
import type { EffectsAt } from './checker.js';

/** A point that an operation passes, and what makes it pass. */
interface Point {
  readonly at: Failpoint;
  /** The how-manieth time. */
  readonly pass?: number;
  readonly intent?: Partial<Intent>;
}

export interface Mode {
  readonly mode: string;
  readonly path: string;
  readonly effectsAt: readonly EffectsAt[];
  readonly points: readonly Point[];
  /** Where most can go wrong: after the claim, between effect and record, after the record. */
  readonly corners: readonly Failpoint[];
}

export type Cell = Mode & Strike & { readonly intent: Partial<Intent> };

const actions: readonly Strike['action'][] = ['SIGKILL', 'SIGSTOP', 'throw'];

const leased: readonly Point[] = [
  { at: 'claim:before' },
  { at: 'claim:after' },
  { at: 'handler:before' },
  { at: 'renew', intent: { holdMs: 300 } },
  { at: 'handler:after' },
  { at: 'complete:before' },
  { at: 'complete:after' },
  { at: 'release:before', intent: { failsFirst: true } },
  { at: 'respond' },
  { at: 'cleanup' },
];

/** What ends with one answer and one effect, wherever it is struck. */
export const modes: readonly Mode[] = [
  {
    mode: 'lease',
    path: '/lease',
    effectsAt: ['provider'],
    points: leased,
    corners: ['claim:after', 'complete:before', 'complete:after'],
  },
  {
    mode: 'transactional',
    path: '/tx',
    effectsAt: ['ledger'],
    points: [
      { at: 'begin:before' },
      { at: 'begin:after' },
      { at: 'handler:before' },
      { at: 'handler:after' },
      { at: 'complete:before' },
      { at: 'commit:before' },
      { at: 'commit:after' },
      { at: 'respond' },
    ],
    corners: ['begin:after', 'commit:before', 'commit:after'],
  },
  {
    mode: 'steps',
    path: '/steps',
    effectsAt: ['provider', 'ledger'],
    points: [
      ...leased,
      { at: 'step:before' },
      { at: 'step:after' },
      { at: 'step:before', pass: 2 },
      { at: 'step:after', pass: 2 },
      { at: 'commit:before' },
      { at: 'commit:after' },
    ],
    corners: ['step:after', 'commit:before', 'commit:after'],
  },
];

/** Every point on PostgreSQL, the corners elsewhere. */
export function cellsOn(dialect: TestDialect): Cell[] {
  return modes.flatMap((mode) =>
    mode.points
      .filter(({ at }) => dialect === 'postgres' || mode.corners.includes(at))
      .flatMap(({ intent = {}, ...point }) =>
        actions.map((action) => ({ ...mode, ...point, intent, action })),
      ),
  );
}

/** Where an operation that must not be repeated is struck, and what becomes of its effect and its answer. */
interface BlockedPoint {
  readonly at: Failpoint;
  readonly charges: number;
  readonly isUncertain: boolean;
}

const blockedPoints: readonly BlockedPoint[] = [
  { at: 'claim:before', charges: 1, isUncertain: false },
  { at: 'claim:after', charges: 0, isUncertain: true },
  { at: 'effect:after', charges: 0, isUncertain: true },
  { at: 'handler:after', charges: 1, isUncertain: true },
  { at: 'complete:before', charges: 1, isUncertain: true },
  { at: 'complete:after', charges: 1, isUncertain: false },
  { at: 'respond', charges: 1, isUncertain: false },
];
const blockedCorners: readonly Failpoint[] = ['effect:after', 'complete:before'];

/** Every point on PostgreSQL, the corners elsewhere. */
export function blockedOn(dialect: TestDialect): BlockedPoint[] {
  return blockedPoints.filter(({ at }) => dialect === 'postgres' || blockedCorners.includes(at));
}
