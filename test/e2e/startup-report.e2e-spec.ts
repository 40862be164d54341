import 'reflect-metadata';
import { Controller, Get, Injectable, Post, type LoggerService, type Type } from '@nestjs/common';
import { Mutation, Query, Resolver, Subscription } from '@nestjs/graphql';
import {
  EventPattern,
  GrpcMethod,
  GrpcStreamCall,
  GrpcStreamMethod,
  MessagePattern,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  Idempotent,
  IdempotencyModule,
  memoryStore,
  type IdempotencyModuleOptions,
  type IdempotentOptions,
} from 'nestjs-idempotency';
import { IdempotencyRecord, typeOrmStore } from 'nestjs-idempotency/typeorm';

/** What the library logs when an application of these classes starts. */
async function reported(
  types: readonly Type[],
  options: IdempotencyModuleOptions = {},
  store: 'memory' | 'sqlite' = 'memory',
): Promise<string[]> {
  const lines: string[] = [];
  const logger: LoggerService = {
    log: (line: unknown, context: unknown) => {
      if (context === 'Idempotency') {
        lines.push(String(line));
      }
    },
    error: () => undefined,
    warn: () => undefined,
  };
  const database = TypeOrmModule.forRoot({
    type: 'better-sqlite3',
    database: ':memory:',
    entities: [IdempotencyRecord],
    synchronize: true,
  });
  const imports =
    store === 'memory'
      ? [IdempotencyModule.forRoot({ store: memoryStore(), ...options })]
      : [database, IdempotencyModule.forRoot({ store: typeOrmStore(), ...options })];
  const module = await Test.createTestingModule({ imports, providers: [...types] }).compile();
  const app = module.createNestApplication({ logger });
  try {
    await app.init();
  } finally {
    await app.close();
  }
  return lines;
}

const AFTER_DEATH =
  'if its process dies before the outcome is recorded it runs again, unless an effect had started';

describe('The report at startup', () => {
  it('tells of routes', async () => {
    @Controller('orders')
    class Orders {
      @Post()
      @Idempotent({ mode: 'transactional' })
      place(): void {}
      @Post('pay')
      @Idempotent({ header: 'X-Key', scope: () => 'all', onUnknownOutcome: 'block' })
      pay(): void {}
      @Post('ship')
      @Idempotent({ required: false, onStoreFailure: 'open', onUnknownOutcome: 'rerun' })
      ship(): void {}
      @Get()
      list(): void {}
    }
    await expect(reported([Orders], {}, 'sqlite')).resolves.toEqual([
      'Orders.place: POST route, key from Idempotency-Key, scope request.user, ' +
        'transactional: effects in the database exactly once',
      'Orders.pay: POST route, key from X-Key, scope by a function, ' +
        'lease: done once; if its process dies before the outcome is recorded it is blocked until resolved',
      'Orders.ship: POST route, key from Idempotency-Key, scope request.user, ' +
        'lease: done once; if its process dies before the outcome is recorded it runs again; ' +
        'without the store it runs unprotected; without a key it runs unprotected',
    ]);
  });

  it('tells of message handlers, and whether an event comes again', async () => {
    @Controller()
    class Mails {
      @EventPattern<string>('placed', Transport.RMQ)
      @Idempotent({ noAck: false, attempts: { max: 5 } })
      placed(): void {}
      @EventPattern<string>('paid', Transport.RMQ)
      @Idempotent({ noAck: true })
      paid(): void {}
      @EventPattern<string>('moved', Transport.KAFKA)
      @Idempotent({ kafkaPosition: true, consumer: 'mails.moved' })
      moved(): void {}
      @EventPattern<string>('seen', Transport.REDIS)
      @Idempotent({ messageId: 'event.id' })
      seen(): void {}
      @MessagePattern({ cmd: 'price' }, Transport.TCP)
      @Idempotent({ messageId: () => 'x', onUnknownOutcome: () => 'absent' })
      price(): void {}
      @GrpcMethod('Orders', 'Place')
      @Idempotent()
      grpc(): void {}
    }
    const own = "id from header Idempotency-Key or the message's own id";
    await expect(reported([Mails])).resolves.toEqual([
      `Mails.placed: event 'placed' on RabbitMQ, ${own}, consumer 'Mails.placed', lease: done once; ` +
        `${AFTER_DEATH}; parked after 5 failed attempts; RabbitMQ delivers an event again until its ` +
        'outcome is recorded',
      `Mails.paid: event 'paid' on RabbitMQ, ${own}, consumer 'Mails.paid', lease: done once; ` +
        `${AFTER_DEATH}; RabbitMQ loses an event with the process that handles it, or when it fails (noAck: true)`,
      "Mails.moved: event 'moved' on Kafka, id from header Idempotency-Key, the message's own id or its " +
        `position in Kafka, consumer 'mails.moved', lease: done once; ${AFTER_DEATH}; Kafka delivers an event ` +
        'again until its outcome is recorded',
      "Mails.seen: event 'seen' on Redis, id from header Idempotency-Key, the message's own id or payload " +
        `field event.id, consumer 'Mails.seen', lease: done once; ${AFTER_DEATH}; ` +
        'Redis does not deliver an event again',
      `Mails.price: request '{"cmd":"price"}' on TCP, id by a function, consumer 'Mails.price', lease: done ` +
        'once; if its process dies before the outcome is recorded the resolver is asked',
      `Mails.grpc: request '{"rpc":"Place","service":"Orders","streaming":"no_stream"}' on gRPC, ${own}, ` +
        `consumer 'Mails.grpc', lease: done once; ${AFTER_DEATH}`,
    ]);
  });

  it('says what it cannot know', async () => {
    @Controller()
    class Any {
      @EventPattern<string>('one')
      @Idempotent()
      one(): void {}
      @EventPattern<string>('two')
      @Idempotent({ noAck: false })
      two(): void {}
    }
    const [one, two] = await reported([Any]);
    expect(one).toMatch(/; noAck is not stated, and RabbitMQ messages are refused until it is$/);
    expect(two).toMatch(/outcome is recorded; what another transport does depends on it$/);
  });

  it('tells of mutations, those of a decorated resolver too, and of methods with a key', async () => {
    @Resolver()
    @Idempotent({ messageId: 'input.key' })
    class Carts {
      @Mutation(() => Boolean)
      fill(): boolean {
        return true;
      }
      @Query(() => Boolean)
      cart(): boolean {
        return true;
      }
    }
    @Injectable()
    class Charges {
      @Idempotent({ key: (id: string) => id, attempts: { max: 2 } })
      async charge(_id: string): Promise<void> {}
    }
    await expect(reported([Carts, Charges])).resolves.toEqual([
      'Carts.fill: GraphQL mutation, id from header Idempotency-Key or argument input.key, ' +
        `consumer 'Carts.fill', scope request.user, lease: done once; ${AFTER_DEATH}`,
      'Charges.charge: method, key by a function, the same for everybody, lease: done once; ' +
        `${AFTER_DEATH}; parked after 2 failed attempts`,
    ]);
  });

  it('is one line for a handler that a subclass overrides', async () => {
    class Base {
      @Post()
      @Idempotent()
      place(): void {}
    }
    @Controller()
    class Derived extends Base {
      @Post()
      @Idempotent({ header: 'X-Key' })
      override place(): void {}
    }
    const lines = await reported([Derived]);
    expect(lines).toEqual([expect.stringContaining('key from X-Key')]);
  });

  it('is left out where it is not wanted', async () => {
    @Controller()
    class Orders {
      @Post()
      @Idempotent()
      place(): void {}
    }
    await expect(reported([Orders], { startupReport: false })).resolves.toEqual([]);
  });
});

describe('What cannot be promised stops the application', () => {
  /** As `@SubscribeMessage()` and `@WebSocketGateway()` leave it. */
  const socket = (event: string) => (_: object, __: string, descriptor: PropertyDescriptor) => {
    Reflect.defineMetadata('websockets:message_mapping', true, descriptor.value as object);
    Reflect.defineMetadata('message', event, descriptor.value as object);
  };
  const gateway = (type: object): void =>
    Reflect.defineMetadata('websockets:is_gateway', true, type);

  it('attempts of an event that RabbitMQ forgets', async () => {
    @Controller()
    class Mails {
      @EventPattern<string>('placed')
      @Idempotent({ noAck: true, attempts: { max: 5 } })
      placed(): void {}
    }
    await expect(reported([Mails])).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('Write noAck: false here and in the options'),
    });
  });

  it('attempts of the module, too', async () => {
    @Controller()
    class Mails {
      @EventPattern<string>('placed')
      @Idempotent()
      placed(): void {}
    }
    const module = { attempts: { max: 5 } };
    await expect(reported([Mails], { ...module, noAck: true })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('or leave attempts out, here and in the module'),
    });
    await expect(reported([Mails], { ...module, noAck: false })).resolves.toHaveLength(1);
  });

  it('a handler that is a route as well', async () => {
    @Controller()
    class Mails {
      @Post()
      @EventPattern<string>('placed')
      @Idempotent({ noAck: false })
      placed(): void {}
    }
    await expect(reported([Mails])).rejects.toThrow(
      'Mails.placed: it is a route and a message handler, and what comes both ways would be done twice.',
    );
  });

  describe('two classes that inherit a handler', () => {
    function inheriting(consumer?: string): Type[] {
      abstract class Mails {
        @EventPattern<string>('placed', Transport.NATS)
        @Idempotent(consumer === undefined ? {} : { consumer })
        placed(): void {}
      }
      @Controller()
      class Letters extends Mails {}
      @Controller()
      class Messages extends Mails {}
      return [Letters, Messages];
    }

    it('with one consumer, which would skip what the other has processed', async () => {
      await expect(reported(inheriting('mails'))).rejects.toThrow(
        /Messages\.placed: another handler is the consumer 'mails' too.*Two classes inherit it: leave consumer out/,
      );
    });

    it('not those that are consumers of their own', async () => {
      const lines = await reported(inheriting());
      expect(lines.map((line) => /consumer '([\w.]+)'/.exec(line)?.[1])).toEqual([
        'Letters.placed',
        'Messages.placed',
      ]);
    });
  });

  describe('an option that would not count:', () => {
    const attempts = { max: 5 };
    const handlers = {
      route: Post(),
      event: EventPattern<string>('placed'),
      request: MessagePattern('price'),
      'event of Kafka': EventPattern<string>('placed', Transport.KAFKA),
      'event of RabbitMQ': EventPattern<string>('placed', Transport.RMQ),
      'event of NATS': EventPattern<string>('placed', Transport.NATS),
      'call of gRPC': GrpcMethod('Orders', 'Place'),
      mutation: Mutation(() => Boolean),
      /** As `@RabbitSubscribe()` of golevelup leaves it. */
      subscriber: (_: object, __: string, { value }: PropertyDescriptor) =>
        Reflect.defineMetadata('RABBIT_HANDLER', { type: 'subscribe' }, value as object),
    } satisfies Record<string, unknown>;
    type Kind = keyof typeof handlers;

    function decorated(kind: Kind, options: IdempotentOptions): Type {
      const own = kind === 'mutation' ? Resolver() : Controller();
      @own
      class Shop {
        @(handlers[kind] as MethodDecorator)
        @Idempotent(options)
        handle(): void {}
      }
      return Shop;
    }

    it.each<[keyof IdempotentOptions, Kind, IdempotentOptions, RegExp]>([
      ['consumer', 'route', { consumer: 'a' }, /a request's key holds for all routes/],
      ['messageId', 'route', { messageId: 'id' }, /name another one: header: 'X-Request-Id'/],
      ['kafkaPosition', 'route', { kafkaPosition: true }, /only messages of Kafka/],
      ['noAck', 'route', { noAck: false }, /Nest's own transport for RabbitMQ/],
      ['strictKey', 'event', { strictKey: true }, /check the id in messageId: \(message\)/],
      ['keyPattern', 'request', { keyPattern: /a/ }, /check the id in messageId: \(message\)/],
      ['maxKeyLength', 'mutation', { maxKeyLength: 5 }, /check the id in messageId/],
      ['fingerprint', 'event', { fingerprint: ['body'] }, /is compared as a whole/],
      ['replayHeaders', 'request', { replayHeaders: ['X-A'] }, /has no headers of its own/],
      ['redact', 'request', { redact: ['card'] }, /answer without what must not be kept/],
      ['authorizeReplay', 'mutation', { authorizeReplay: () => true }, /whoever has its id/],
      ['scope', 'event of NATS', { scope: () => 'a' }, /together with whose it is/],
      ['scope', 'subscriber', { scope: () => 'a' }, /together with whose it is/],
      ['kafkaPosition', 'event of RabbitMQ', { kafkaPosition: true }, /only messages of Kafka/],
      ['kafkaPosition', 'mutation', { kafkaPosition: true }, /only messages of Kafka/],
      ['noAck', 'event of Kafka', { noAck: false }, /Nest's own transport for RabbitMQ/],
      ['noAck', 'subscriber', { noAck: false }, /Nest's own transport for RabbitMQ/],
      ['noAck', 'call of gRPC', { noAck: false }, /Nest's own transport for RabbitMQ/],
    ])('%s on a handler that is a %s', async (option, kind, options, instead) => {
      const refused = await reported([decorated(kind, options)]).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
      const { message } = refused as Error;
      expect(message).toMatch(
        new RegExp(`^@Idempotent\\(\\) on Shop.handle: option '${option}' would not count here`),
      );
      expect(message).toMatch(instead);
    });

    it.each<[string, Kind, object]>([
      ['backoff', 'event of Kafka', { backoff: '1s' }],
      ['onExhausted', 'event of Kafka', { onExhausted: 'dead-letter' }],
      ['onExhausted', 'mutation', { onExhausted: 'park' }],
    ])('attempts.%s on a handler that is a %s', async (option, kind, more) => {
      const shop = decorated(kind, { attempts: { ...attempts, ...more } });
      await expect(reported([shop])).rejects.toThrow(
        `option 'attempts.${option}' would not count here: only RabbitMQ can be told`,
      );
    });

    it.each<[Kind, IdempotentOptions]>([
      ['route', { strictKey: true, keyPattern: /a/, maxKeyLength: 9, replayHeaders: ['X-A'] }],
      ['route', { scope: () => 'a', fingerprint: ['body'], header: 'X-Key', required: false }],
      ['event', { consumer: 'a', messageId: 'id', kafkaPosition: true, noAck: false, attempts }],
      ['request', { noAck: false, attempts: { ...attempts, onExhausted: 'park' } }],
      ['event of Kafka', { kafkaPosition: true, attempts }],
      ['event of RabbitMQ', { noAck: false, attempts: { ...attempts, backoff: 5 } }],
      ['event of NATS', { header: 'x-key', required: false }],
      ['mutation', { scope: () => 'a', messageId: 'input.key', consumer: 'a', attempts }],
      ['subscriber', { attempts: { ...attempts, backoff: 5, onExhausted: 'park' } }],
    ])('not what counts on a handler that is a %s', async (kind, options) => {
      await expect(reported([decorated(kind, options)])).resolves.toHaveLength(1);
    });

    it('not what the module says for those whom it fits', async () => {
      const module = { noAck: false, keyPattern: /a/, replayHeaders: ['X-A'], attempts };
      const shops = (['route', 'event', 'mutation', 'subscriber'] as const).map((kind) =>
        decorated(kind, kind === 'route' ? {} : { consumer: kind }),
      );
      await expect(reported(shops, module)).resolves.toHaveLength(4);
    });

    it('of a class for any of its handlers, but not for some of them', async () => {
      @Controller()
      @Idempotent({ replayHeaders: ['X-A'], noAck: false, attempts })
      class Both {
        @Post()
        place(): void {}
        @EventPattern<string>('placed')
        placed(): void {}
      }
      await expect(reported([Both])).resolves.toHaveLength(2);

      @Controller()
      @Idempotent({ replayHeaders: ['X-A'] })
      class Mails {
        @EventPattern<string>('placed', Transport.NATS)
        placed(): void {}
      }
      await expect(reported([Mails])).rejects.toThrow(
        "@Idempotent() on Mails: option 'replayHeaders' would not count here",
      );
    });
  });

  it("mode: 'transactional' of the module for a method, where the store has no transactions", async () => {
    @Injectable()
    class Payments {
      @Idempotent({ key: (id: string) => id })
      async pay(id: string): Promise<string> {
        return id;
      }
    }
    await expect(reported([Payments], { mode: 'transactional' })).rejects.toThrow(
      "@Idempotent({ key }) on Payments.pay: option 'mode' is 'transactional', but the memory store has no",
    );
  });

  it('not those of a request, whose client tries again, nor those of another transport', async () => {
    @Controller()
    class Prices {
      @MessagePattern('price')
      @Idempotent({ noAck: true, attempts: { max: 5 } })
      price(): void {}
      @EventPattern<string>('priced', Transport.KAFKA)
      @Idempotent({ attempts: { max: 5 } })
      priced(): void {}
    }
    await expect(reported([Prices], { noAck: true })).resolves.toHaveLength(2);
  });

  it('a query and a subscription of GraphQL', async () => {
    @Resolver()
    class Reading {
      @Query(() => Boolean)
      @Idempotent()
      cart(): boolean {
        return true;
      }
    }
    @Resolver()
    class Listening {
      @Subscription(() => Boolean)
      @Idempotent()
      carts(): boolean {
        return true;
      }
    }
    for (const resolver of [Reading, Listening]) {
      await expect(reported([resolver])).rejects.toThrow(
        'it is no mutation, and what only reads may be asked any number of times.',
      );
    }
  });

  it('a stream of gRPC', async () => {
    @Controller()
    class Rx {
      @GrpcStreamMethod('Orders', 'Place')
      @Idempotent()
      place(): void {}
    }
    @Controller()
    @Idempotent()
    class Call {
      @GrpcStreamCall('Orders', 'Place')
      place(): void {}
    }
    for (const controller of [Rx, Call]) {
      await expect(reported([controller])).rejects.toThrow(
        'write IdempotencyService.execute() for each message inside of the handler.',
      );
    }
  });

  it('a key of arguments on a message handler, whose messages nobody would settle', async () => {
    @Controller()
    class Mails {
      @EventPattern<string>('placed')
      @Idempotent({ key: (id: string) => id })
      async placed(_id: string): Promise<void> {}
    }
    await expect(reported([Mails])).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('it is a message handler, whose id comes with the message'),
    });
  });

  it('a handler of a WebSocket gateway, and a whole gateway', async () => {
    @Injectable()
    class Chat {
      @socket('say')
      @Idempotent()
      say(): void {}
    }
    @Idempotent()
    @gateway
    class Everything {
      @socket('say')
      say(): void {}
    }
    for (const type of [Chat, Everything]) {
      await expect(reported([type])).rejects.toThrow('it is a WebSocket gateway');
    }
  });
});
