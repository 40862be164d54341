import 'reflect-metadata';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { moduleSettings, operationSettings } from '../../src/idempotency.settings.js';

/** A wrong value, as it is shown, and what the sentence says to write instead. */
type Wrong = readonly [option: string, value: unknown, shown: string, fix: RegExp];

const duration = /Write milliseconds as a number, or text such as '500ms', '30s'/;

const WRONG: readonly Wrong[] = [
  ...['ttl', 'lease', 'maxDuration', 'waitTimeout'].flatMap((option): Wrong[] => [
    [option, 'tomorrow', "'tomorrow'", duration],
    [option, '', "''", duration],
    [option, '10', "'10'", duration],
    [option, '1y', "'1y'", duration],
    [option, '-1s', "'-1s'", duration],
    [option, '0s', "'0s'", duration],
    [option, 0, '0', duration],
    [option, -5, '-5', duration],
    [option, NaN, 'NaN', duration],
    [option, Infinity, 'Infinity', duration],
    [option, null, 'null', duration],
    [option, { seconds: 3 }, '{ seconds: 3 }', duration],
    [option, 10n, '10n', duration],
  ]),
  ['waitTimeout', '30d', "'30d'", /Write at most '24d'/],
  ['onConcurrent', 'queue', "'queue'", /Write 'reject' or 'wait'/],
  ['onConcurrent', true, 'true', /Write 'reject' or 'wait'/],
  [
    'errors',
    'store',
    "'store'",
    /'release' or 'store-client-errors' or 'store-all', or a function/,
  ],
  ['errors', ['release'], "[ 'release' ]", /'release' or 'store-client-errors'/],
  ['expiredKeys', 'run', "'run'", /Write 'refuse' or 'rerun'/],
  ['onStoreFailure', 'fail', "'fail'", /Write 'closed' or 'open'/],
  ['onUnknownOutcome', 'retry', "'retry'", /Write 'rerun' or 'block', or a function/],
  ['onUnknownOutcome', null, 'null', /Write 'rerun' or 'block', or a function/],
  ['maxResultBytes', 0, '0', /whole number from 1/],
  ['maxResultBytes', '1mb', "'1mb'", /whole number from 1/],
  ['maxResultBytes', 1.5, '1.5', /whole number from 1/],
  ['maxResultBytes', Infinity, 'Infinity', /whole number from 1/],
  ['header', '', "''", /Write the name of a request header/],
  ['header', 'Idempotency Key', "'Idempotency Key'", /Write the name of a request header/],
  ['header', 'Key:', "'Key:'", /Write the name of a request header/],
  ['header', 5, '5', /Write the name of a request header/],
  ['required', 'no', "'no'", /Write true or false/],
  ['required', null, 'null', /Write true or false/],
  ['strictKey', 1, '1', /Write true or false/],
  ['keyPattern', '^a$', "'^a$'", /Write a regular expression/],
  ['keyPattern', /a/g, '/a/g', /Leave out the flags g and y/],
  ['keyPattern', /a/y, '/a/y', /Leave out the flags g and y/],
  ['maxKeyLength', 0, '0', /from 1 to 4000/],
  ['maxKeyLength', 4_001, '4001', /from 1 to 4000/],
  ['scope', 'user', "'user'", /Write a function/],
  ['fingerprint', [], '[]', /at least one entry/],
  ['fingerprint', 'body', "'body'", /Write a list of 'method', 'path', 'query', 'body'/],
  ['fingerprint', ['bdy'], "[ 'bdy' ]", /Write a list of 'method', 'path', 'query', 'body'/],
  ['fingerprint', ['header:'], "[ 'header:' ]", /'header:<name>'/],
  ['fingerprint', ['header:a b'], "[ 'header:a b' ]", /'header:<name>'/],
  ['fingerprint', [['body']], '[ [Array] ]', /Write a list/],
  ['replayHeaders', 'X-A', "'X-A'", /Write a list of response header names/],
  ['replayHeaders', ['X A'], "[ 'X A' ]", /Write a list of response header names/],
  ['replayHeaders', [5], '[ 5 ]', /Write a list of response header names/],
  ['replayHeaders', ['Set-Cookie'], "[ 'Set-Cookie' ]", /Leave out 'Set-Cookie'/],
  ['replayHeaders', ['X-A', 'date'], "[ 'X-A', 'date' ]", /Leave out 'date'/],
  ['replayHeaders', ['X-RateLimit-Limit'], "[ 'X-RateLimit-Limit' ]", /Leave out/],
  ['tll', '24h', "'24h'", /there is no option 'tll'.*Write one of: mode, strict, ttl/],
  ['constructor', 1, '1', /there is no option 'constructor'/],
  ['mode', 'transaction', "'transaction'", /Write 'lease' or 'transactional'/],
];

const WRONG_IN_THE_MODULE: readonly Wrong[] = [
  ['namespace', 5, '5', /Write a string/],
  ['storeTimeout', 'long', "'long'", duration],
  ['storeTimeout', '30d', "'30d'", /Write at most '24d'/],
  ['maskKey', true, 'true', /Write a function/],
  ['cleanup', true, 'true', /Write false, or an object such as/],
  ['cleanup', null, 'null', /Write false, or an object such as/],
  ['cleanup.interval', 'often', "'often'", duration],
  ['cleanup.interval', '25d', "'25d'", /Write at most '24d'/],
  ['cleanup.batchSize', 0, '0', /from 1 to 100000/],
  ['redact', 'card', "'card'", /Write a list of paths/],
  ['redact', ['a..b'], "[ 'a..b' ]", /Write a list of paths/],
  ['authorizeReplay', true, 'true', /Write a function/],
  ['replayCache', 'yes', "'yes'", /Write true, false, or an object such as/],
  ['replayCache.maxEntries', 0, '0', /from 1 to/],
  ['replayCache.maxBytes', 1.5, '1.5', /whole number/],
  ['replayCache.maxAge', 'long', "'long'", duration],
  [
    'replayCache.size',
    1,
    '1',
    /there is no option 'replayCache.size'.*maxEntries, maxBytes, maxAge/,
  ],
  ['cleanup.every', '1m', "'1m'", /there is no option 'cleanup.every'.*interval, batchSize/],
  ['telemetry', true, 'true', /Write openTelemetry\(\)/],
  ['hooks', [], '[]', /Write an object with functions/],
  ['hooks.onReplayed', 'log', "'log'", /Write a function/],
  ['hooks.onDone', 'log', "'log'", /there is no option 'hooks.onDone'.*onExecuted/],
];

const thrownBy = (run: () => unknown): Error & { code?: string } => {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected an error');
};

/** `{ 'a.b': 1 }` as `{ a: { b: 1 } }`. */
const optionsOf = (path: string, value: unknown): object =>
  path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as object;

const expectSentence = (error: Error & { code?: string }, [option, , shown, fix]: Wrong): void => {
  expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
  expect(error.message).toContain(`option '${option}'`);
  expect(error.message).toContain(shown);
  expect(error.message).toMatch(fix);
  expect(error.message).toMatch(/\.$/);
};

describe('a wrong option of the module', () => {
  it.each([...WRONG, ...WRONG_IN_THE_MODULE])('%s: %p', (...wrong) => {
    const error = thrownBy(() => moduleSettings(optionsOf(wrong[0], wrong[1])));
    expectSentence(error, wrong);
    expect(error.message).toMatch(/^IdempotencyModule: /);
  });

  it.each([null, 'options', 5, [], true])('that is no object: %p', (options) => {
    const error = thrownBy(() => moduleSettings(options as never));
    expect(error.message).toMatch(/Write an object, or nothing\.$/);
  });
});

describe('a wrong option of the decorator', () => {
  it.each(WRONG)('%s: %p', (...wrong) => {
    const options = optionsOf(wrong[0], wrong[1]);
    const onMethod = thrownBy(() => {
      class Orders {
        @Idempotent(options)
        place(): void {}
      }
      return Orders;
    });
    expectSentence(onMethod, wrong);
    expect(onMethod.message).toMatch(/^@Idempotent\(\) on Orders\.place: /);
    const onClass = thrownBy(() => {
      @Idempotent(options)
      class Orders {}
      return Orders;
    });
    expectSentence(onClass, wrong);
    expect(onClass.message).toMatch(/^@Idempotent\(\) on Orders: /);
  });

  it.each(['storeTimeout', 'cleanup', 'hooks', 'namespace', 'maskKey', 'store'])(
    '%s, which only the module takes',
    (option) => {
      const error = thrownBy(() => Idempotent({ [option]: 'x' })(class Orders {}));
      expect(error.message).toContain(`there is no option '${option}'`);
    },
  );

  it.each([null, 'body', 5, []])('that is no object: %p', (options) => {
    const error = thrownBy(() => Idempotent(options as never)(class Orders {}));
    expect(error.message).toMatch(/^@Idempotent\(\) on Orders: .*Write an object, or nothing\.$/);
  });

  it('on what is no method', () => {
    const error = thrownBy(() => {
      class Orders {
        @Idempotent()
        get total(): number {
          return 1;
        }
      }
      return Orders;
    });
    expect(error.message).toBe(
      '@Idempotent() on Orders.total: it is not a method. Decorate a route handler or a controller class.',
    );
  });
});

describe('options that contradict each other', () => {
  const settings = (module: object, route: object = {}): unknown =>
    operationSettings(moduleSettings(module), route, '@Idempotent() on Orders.place');

  it.each<[string, object, object, RegExp]>([
    [
      'a waitTimeout that nothing waits for',
      {},
      { waitTimeout: '5s' },
      /^@Idempotent\(\) on Orders\.place: option 'waitTimeout' is '5s', but nothing waits\. Add onConcurrent: 'wait'/,
    ],
    [
      'a waitTimeout on a route that rejects',
      { onConcurrent: 'wait' },
      { onConcurrent: 'reject', waitTimeout: '5s' },
      /nothing waits/,
    ],
    [
      'a waitTimeout of a module that rejects',
      { onConcurrent: 'reject', waitTimeout: '5s' },
      {},
      /^IdempotencyModule: option 'waitTimeout' is '5s', but nothing waits/,
    ],
    [
      'a maxDuration shorter than the lease',
      {},
      { lease: '1m', maxDuration: '30s' },
      /option 'maxDuration' \('30s'\) is shorter than 'lease' \('1m'\)\. Write a longer maxDuration/,
    ],
    [
      'a maxDuration shorter than the default lease',
      {},
      { maxDuration: '10s' },
      /'maxDuration' \('10s'\) is shorter than 'lease' \('30s'\)/,
    ],
    [
      "a lease longer than the module's maxDuration",
      { maxDuration: '2m' },
      { lease: '5m' },
      /'maxDuration' \('2m'\) is shorter than 'lease' \('5m'\)/,
    ],
    [
      'a storeTimeout longer than the lease',
      { storeTimeout: '20s' },
      { lease: '10s' },
      /'lease' \('10s'\) is shorter than 'storeTimeout' \('20s'\).*Write a longer lease/,
    ],
  ])('%s', (_name, module, route, sentence) => {
    const error = thrownBy(() => settings(module, route));
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toMatch(sentence);
  });

  it.each<[string, object, object]>([
    [
      'a waitTimeout of the module for routes that wait',
      { waitTimeout: '5s' },
      { onConcurrent: 'wait' },
    ],
    ['a lease as long as maxDuration', {}, { lease: '1m', maxDuration: '1m' }],
    ['undefined values', { ttl: undefined, cleanup: undefined }, { lease: undefined }],
    [
      'durations in each form',
      { ttl: 60_000, storeTimeout: '0.5s' },
      { ttl: '2w', lease: '500ms' },
    ],
  ])('%s do not', (_name, module, route) => {
    expect(() => settings(module, route)).not.toThrow();
  });
});

describe('what holds', () => {
  it('is the default, the module’s over it, and the route’s over that', () => {
    const of = (module: object, route: object) =>
      operationSettings(moduleSettings(module), route, 'here');
    expect(of({}, {})).toMatchObject({
      policy: {
        ttlMs: 86_400_000,
        leaseMs: 30_000,
        maxDurationMs: 900_000,
        onConcurrent: 'reject',
        waitTimeoutMs: 10_000,
        expiredKeys: 'refuse',
        onStoreFailure: 'closed',
      },
      errors: 'release',
      maxResultBytes: 1_048_576,
      header: 'Idempotency-Key',
      required: true,
      keyRules: { strict: false, maxLength: 255, pattern: undefined },
      fingerprint: ['method', 'path', 'query', 'body'],
      replayHeaders: [],
    });
    expect(moduleSettings()).toMatchObject({
      namespace: '',
      storeTimeoutMs: 5_000,
      cleanup: { intervalMs: 60_000, batchSize: 1_000 },
    });
    const { policy, header, replayHeaders } = of(
      { ttl: '1h', lease: '20s', header: 'X-Module' },
      { ttl: '2h', header: undefined, replayHeaders: ['X-Order'] },
    );
    expect(policy).toMatchObject({ ttlMs: 7_200_000, leaseMs: 20_000 });
    expect([header, replayHeaders]).toEqual(['X-Module', ['x-order']]);
  });
});

describe('a registration that cannot work', () => {
  const useFactory = (): object => ({});

  it.each<[string, () => unknown, RegExp]>([
    [
      'no object',
      () => IdempotencyModule.forRoot(null as never),
      /the options are null\. Write an object/,
    ],
    [
      'a store by its name',
      () => IdempotencyModule.forRoot({ store: 'postgres' as never }),
      /option 'store' is 'postgres'\. Write typeOrmStore\(\) .*memoryStore\(\)/,
    ],
    [
      'a store that was not called',
      () => IdempotencyModule.forRoot({ store: memoryStore as never }),
      /option 'store' is \[Function: memoryStore\]\. Write/,
    ],
    [
      'null for a store',
      () => IdempotencyModule.forRoot({ store: null as never }),
      /option 'store' is null/,
    ],
    [
      'isGlobal as text',
      () => IdempotencyModule.forRoot({ isGlobal: 'yes' as never }),
      /option 'isGlobal' is 'yes'\. Write true or false\./,
    ],
    [
      'an option beside the factory',
      () => IdempotencyModule.forRootAsync({ ttl: '1h', useFactory } as never),
      /forRootAsync\(\) has no option 'ttl' \(given: '1h'\)\. Return it from the factory/,
    ],
    [
      'no factory',
      () => IdempotencyModule.forRootAsync({ store: memoryStore() }),
      /forRootAsync\(\) has no factory\. Write exactly one of useFactory, useClass and useExisting\./,
    ],
    [
      'two factories',
      () => IdempotencyModule.forRootAsync({ useFactory, useClass: class {} } as never),
      /forRootAsync\(\) has useFactory and useClass\. Write exactly one/,
    ],
    [
      'a wrong store beside the factory',
      () => IdempotencyModule.forRootAsync({ useFactory, store: {} as never }),
      /option 'store' is \{\}\. Write/,
    ],
  ])('%s', (_name, register, sentence) => {
    const error = thrownBy(register);
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toMatch(/^IdempotencyModule: /);
    expect(error.message).toMatch(sentence);
  });
});

describe('maskKey', () => {
  it('that fails, or answers no text, keeps nothing of the key and disturbs nobody', () => {
    const throws = moduleSettings({
      maskKey: () => {
        throw new Error('no');
      },
    });
    expect(throws.mask('secret')).toBeNull();
    expect(moduleSettings({ maskKey: () => 5 as never }).mask('secret')).toBeNull();
    expect(moduleSettings({ maskKey: (key) => key.slice(0, 2) }).mask('secret')).toBe('se');
    expect(moduleSettings().mask('secret')).toBe('secret');
  });
});
