import type { BadVariant } from './bad/variants.js';
import type { EffectsAt } from './checker.js';

/** One run: what is attacked, where, and for how long unless somebody says otherwise. */
export interface Configuration {
  readonly name: string;
  readonly database: 'postgres' | 'mariadb' | 'sqlite';
  /** The route of the application under attack. */
  readonly path: string;
  readonly effectsAt: readonly EffectsAt[];
  readonly seconds: number;
}

/** Something that is known to be wrong, and that the checker has to find within the time. */
export interface Tooth extends Configuration {
  readonly variant?: BadVariant;
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
    variant: 'get-then-set',
  },
  {
    name: 'bad-no-owner-check',
    database: 'postgres',
    path: '/lease',
    effectsAt: ['provider'],
    seconds: 20,
    variant: 'no-owner-check',
  },
  {
    name: 'bad-no-fence',
    database: 'postgres',
    path: '/unfenced',
    effectsAt: ['ledger'],
    seconds: 12,
  },
];
