import 'reflect-metadata';
import { Injectable, Post, SetMetadata } from '@nestjs/common';
import { currentIdempotency, Idempotent } from 'nestjs-idempotency';

const thrownBy = (work: () => unknown): Error => {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected it to throw');
};

const misconfigured = (message: RegExp): Error =>
  expect.objectContaining({
    code: 'IDEMPOTENCY_MISCONFIGURED',
    message: expect.stringMatching(message),
  }) as unknown as Error;

/** What JavaScript can write, and the compiler would refuse. */
const decorate = (options: unknown): (() => unknown) => {
  const decorator = Idempotent(options as never) as MethodDecorator;
  return () => {
    class Payouts {
      @decorator
      async run(): Promise<void> {}
    }
    return Payouts;
  };
};

describe('a method with a key', () => {
  @Injectable()
  class Payouts {
    @SetMetadata('above', 1)
    @Idempotent({ key: (company: string) => company })
    @SetMetadata('beneath', 2)
    async run(company: string, period: string): Promise<string> {
      return company + period;
    }

    async plain(company: string, period: string): Promise<string> {
      return company + period;
    }
  }

  it('keeps its metadata, whichever side of the decorator it came from', () => {
    expect(Reflect.getMetadata('above', Payouts.prototype.run)).toBe(1);
    expect(Reflect.getMetadata('beneath', Payouts.prototype.run)).toBe(2);
    expect(Reflect.getMetadata('design:paramtypes', Payouts.prototype, 'run')).toEqual([
      String,
      String,
    ]);
  });

  it('keeps its name, its length and its place in the class', () => {
    const { run, plain } = Payouts.prototype;
    expect([run.name, run.length]).toEqual(['run', plain.length]);
    expect(Object.getOwnPropertyDescriptor(Payouts.prototype, 'run')).toEqual({
      ...Object.getOwnPropertyDescriptor(Payouts.prototype, 'plain'),
      value: run,
    });
  });

  it('adds nothing to be seen to its class and instances', () => {
    expect(Object.keys(new Payouts())).toEqual([]);
    expect(Object.getOwnPropertyNames(Payouts.prototype)).toEqual(['constructor', 'run', 'plain']);
  });

  it('binds no interceptor', () => {
    const keys = Reflect.getMetadataKeys(Payouts.prototype.run);
    expect(new Set(keys)).toEqual(new Set(['above', 'beneath', 'nestjs-idempotency:method']));
  });

  it('rejects, and never throws or runs, while there is no module', async () => {
    await expect(new Payouts().run('acme', '2026-01')).rejects.toThrow(
      misconfigured(
        /^Payouts\.run: it is idempotent, and no IdempotencyModule is running\. Import/,
      ),
    );
  });
});

describe('what cannot work is refused while the class is defined', () => {
  it.each<[string, unknown, RegExp]>([
    ['a key that is missing', { key: undefined }, /option 'key' is undefined\. Write a function/],
    ['a key that is text', { key: 'order' }, /option 'key' is 'order'\. Write a function/],
    ['a scope that is text', { key: String, scope: 'acme' }, /option 'scope' is 'acme'/],
    ['a payload that is none', { key: String, payload: {} }, /option 'payload' is \{\}/],
    [
      'a header',
      { key: String, header: 'X-Key' },
      /there is no option 'header'.*Write one of: mode/,
    ],
    ['a fingerprint', { key: String, fingerprint: ['body'] }, /there is no option 'fingerprint'/],
    ['an operation', { key: String, operation: 'x' }, /there is no option 'operation'/],
    ['a wrong policy', { key: String, ttl: 'soon' }, /option 'ttl' is 'soon'\. Write milliseconds/],
  ])('%s', (_name, options, sentence) => {
    const error = thrownBy(decorate(options));
    expect(error).toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
    expect(error.message).toMatch(/^@Idempotent\(\{ key \}\) on Payouts\.run: /);
    expect(error.message).toMatch(sentence);
  });

  it('a key on a class', () => {
    const decorator = Idempotent({ key: () => 'key' }) as unknown as ClassDecorator;
    expect(() => decorator(class Payouts {})).toThrow(
      misconfigured(/^@Idempotent\(\{ key \}\) on Payouts: it is not a method\./),
    );
  });

  it('a key on a getter', () => {
    const decorator = Idempotent({ key: () => 'key' }) as unknown as MethodDecorator;
    const define = (): unknown => {
      class Payouts {
        @decorator
        get total(): number {
          return 1;
        }
      }
      return Payouts;
    };
    expect(define).toThrow(misconfigured(/on Payouts\.total: it is not a method\./));
  });

  it('a method that is decorated as a route too, in both orders', () => {
    const above = (): unknown => {
      class Orders {
        @Idempotent({ key: () => 'key' })
        @Idempotent()
        @Post()
        async place(): Promise<void> {}
      }
      return Orders;
    };
    const beneath = (): unknown => {
      class Orders {
        @Idempotent()
        @Idempotent({ key: () => 'key' })
        @Post()
        async place(): Promise<void> {}
      }
      return Orders;
    };
    expect(above).toThrow(misconfigured(/on Orders\.place: it is decorated as a route and as a/));
    expect(beneath).toThrow(misconfigured(/on Orders\.place: it is decorated as a route and as a/));
  });
});

it('currentIdempotency() outside of an operation says where to call it', () => {
  expect(() => currentIdempotency()).toThrow(
    misconfigured(/^currentIdempotency\(\): no idempotent operation is running here\. Call it/),
  );
});
