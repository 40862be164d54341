import { isRecord, show } from './option-values.js';
import { misconfigured, MODULE } from './options-check.js';

const FACTORIES = ['useFactory', 'useClass', 'useExisting'];
const BESIDE_A_FACTORY = [
  'imports',
  'inject',
  ...FACTORIES,
  'provideInjectionTokensFrom',
  'store',
  'isGlobal',
];

/**
 * What `forRoot()` fixes before any option is looked at.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function checkRegistration(options: unknown): void {
  if (!isRecord(options)) {
    throw misconfigured(MODULE, `the options are ${show(options)}. Write an object, or nothing.`);
  }
  const { store, isGlobal } = options as { store?: unknown; isGlobal?: unknown };
  if (store !== undefined && !isStore(store)) {
    throw misconfigured(
      MODULE,
      `option 'store' is ${show(store)}. Write typeOrmStore() from 'nestjs-idempotency/typeorm', redisStore() ` +
        "from 'nestjs-idempotency/redis', or, in tests, memoryStore(); or leave it out for the default DataSource.",
    );
  }
  if (isGlobal !== undefined && typeof isGlobal !== 'boolean') {
    throw misconfigured(MODULE, `option 'isGlobal' is ${show(isGlobal)}. Write true or false.`);
  }
}

/**
 * What `forRootAsync()` fixes: an option beside the factory would be dropped in silence.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function checkAsyncRegistration(options: unknown): void {
  checkRegistration(options);
  const given = options as Record<string, unknown>;
  for (const [name, value] of Object.entries(given)) {
    if (!BESIDE_A_FACTORY.includes(name)) {
      throw misconfigured(
        MODULE,
        `forRootAsync() has no option '${name}' (given: ${show(value)}). Return it from the factory, ` +
          `or write one of: ${BESIDE_A_FACTORY.join(', ')}.`,
      );
    }
  }
  const factories = FACTORIES.filter((name) => given[name] !== undefined);
  if (factories.length !== 1) {
    throw misconfigured(
      MODULE,
      `forRootAsync() has ${factories.length === 0 ? 'no factory' : factories.join(' and ')}. ` +
        'Write exactly one of useFactory, useClass and useExisting.',
    );
  }
}

/** A store, or the definition of one. */
function isStore(value: unknown): boolean {
  const { claim, useFactory } = (isRecord(value) ? value : {}) as Record<string, unknown>;
  return typeof claim === 'function' || typeof useFactory === 'function';
}
