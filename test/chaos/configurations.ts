import type { BadVariant } from './bad/variants.js';
import type { EffectsAt, Rule } from './checker.js';
import type { Fault } from './nemesis.js';

/** One run: what is attacked, where, and for how long unless somebody says otherwise. */
export interface Configuration {
  readonly name: string;
  readonly database: 'postgres' | 'mariadb' | 'sqlite';
  /** The route of the application under attack. */
  readonly path: string;
  readonly effectsAt: readonly EffectsAt[];
  /**
   * An answer that could not be recorded is the real result, but a run that has to follow may end with another.
   * @default false
   */
  readonly mayDifferUnrecorded?: boolean;
  /**
   * An attempt that died leaves its key without an answer, until somebody settles it.
   * @default false
   */
  readonly mayStayUncertain?: boolean;
  readonly seconds: number;
  /** What is done to it besides `kill`, `pause` and what the seed chooses. */
  readonly always?: readonly Fault[];
  /**
   * What is done to it.
   * @default a choice that the seed makes
   */
  readonly faults?: readonly Fault[];
}

/** Something that is known to be wrong, and that the checker has to find within the time. */
export interface Tooth extends Configuration {
  readonly variant?: BadVariant;
  /** The promise that it breaks. */
  readonly breaks: Rule;
}

export function isTooth(configuration: Configuration | Tooth): configuration is Tooth {
  return 'breaks' in configuration;
}

/** What an answer waits for in the database. */
const committing = { always: ['lose-commit'] } as const;

export const configurations: readonly Configuration[] = [
  {
    name: 'tx-pg',
    database: 'postgres',
    path: '/tx',
    effectsAt: ['ledger'],
    seconds: 20,
    ...committing,
  },
  {
    name: 'steps-pg',
    database: 'postgres',
    path: '/steps',
    effectsAt: ['provider', 'ledger'],
    seconds: 10,
    ...committing,
  },
  {
    name: 'lease-pg',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    mayDifferUnrecorded: true,
    seconds: 5,
  },
  {
    name: 'block-pg',
    database: 'postgres',
    path: '/block',
    effectsAt: ['provider'],
    mayStayUncertain: true,
    seconds: 5,
  },
  {
    name: 'tx-mariadb',
    database: 'mariadb',
    path: '/tx',
    effectsAt: ['ledger'],
    seconds: 9,
    ...committing,
  },
  {
    name: 'lease-mariadb',
    database: 'mariadb',
    path: '/lease',
    effectsAt: ['provider'],
    mayDifferUnrecorded: true,
    seconds: 4,
  },
  {
    name: 'tx-sqlite',
    database: 'sqlite',
    path: '/tx',
    effectsAt: ['ledger'],
    seconds: 8,
  },
  {
    name: 'lease-sqlite',
    database: 'sqlite',
    path: '/lease',
    effectsAt: ['provider'],
    mayDifferUnrecorded: true,
    seconds: 4,
  },
];

export const teeth: readonly Tooth[] = [
  {
    name: 'bad-get-then-set',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    mayDifferUnrecorded: true,
    seconds: 20,
    faults: ['kill', 'pause'],
    variant: 'get-then-set',
    breaks: 'all answers are the same',
  },
  {
    name: 'bad-no-owner-check',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    mayDifferUnrecorded: true,
    seconds: 20,
    faults: ['pause'],
    variant: 'no-owner-check',
    breaks: 'all answers are the same',
  },
  {
    name: 'bad-no-fence',
    database: 'postgres',
    path: '/unfenced',
    effectsAt: ['ledger'],
    mayDifferUnrecorded: true,
    seconds: 20,
    faults: ['kill', 'pause'],
    breaks: 'exactly one effect',
  },
  {
    name: 'bad-commit-then-complete',
    database: 'postgres',
    path: '/tx',
    effectsAt: ['ledger'],
    seconds: 20,
    faults: ['kill', 'pause', 'lose-commit'],
    variant: 'commit-then-complete',
    breaks: 'exactly one effect',
  },
];
