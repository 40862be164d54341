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
  readonly seconds: number;
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

export const configurations: readonly Configuration[] = [
  {
    name: 'lease-pg',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 10,
  },
  {
    name: 'lease-mariadb',
    database: 'mariadb',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 10,
  },
  {
    name: 'lease-sqlite',
    database: 'sqlite',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 8,
  },
];

export const teeth: readonly Tooth[] = [
  {
    name: 'bad-get-then-set',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 12,
    faults: ['kill', 'pause'],
    variant: 'get-then-set',
    breaks: 'all answers are the same',
  },
  {
    name: 'bad-no-owner-check',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 12,
    faults: ['pause'],
    variant: 'no-owner-check',
    breaks: 'all answers are the same',
  },
  {
    name: 'bad-no-fence',
    database: 'postgres',
    path: '/unfenced',
    effectsAt: ['ledger'],
    seconds: 12,
    faults: ['kill', 'pause'],
    breaks: 'exactly one effect',
  },
];
