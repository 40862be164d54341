import 'reflect-metadata';
import {
  Controller,
  Logger,
  UseGuards,
  UseInterceptors,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  type MicroserviceOptions,
  type RmqContext,
} from '@nestjs/microservices';
import { EMPTY, timeout, type Observable } from 'rxjs';
import { Idempotent, IdempotencyService } from 'nestjs-idempotency';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { setFailpoint } from '../../src/engine/failpoints.js';
import { createTestDatabase } from '../support/databases.js';
import { eventually } from '../support/http.js';
import { TestGate } from '../support/gate.js';
import { EntryEntity } from '../support/ledger.js';
import {
  apps,
  doings,
  queue,
  ran,
  start,
  store,
  useRabbit,
} from '../support/messages/rabbit-stage.js';
import { hybrid, rabbitUrl, startConsumer, TestQueue } from '../support/messages/rabbit.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

beforeAll(() => Logger.overrideLogger(false));

interface Channel {
  ack(message: object): void;
  nack(message: object, allUpTo?: boolean, requeue?: boolean): void;
  reject(message: object, requeue?: boolean): void;
}

const channelOf = (context: RmqContext) => context.getChannelRef() as Channel;

(rabbitUrl === '' ? describe.skip : describe)('Messages of RabbitMQ', () => {
  useRabbit();

  /** A controller with one handler of the event `placed`. */
  function placed(handle: (context: RmqContext, data: { n?: number }) => unknown): Type {
    @Controller()
    class Shop {
      @EventPattern<string>('placed')
      @Idempotent()
      placed(@Ctx() context: RmqContext, @Payload() data: { n?: number }): unknown {
        doings.did('placed');
        return handle(context, data);
      }
    }
    return Shop;
  }

  describe('settles', () => {
    it('only when the outcome is durable', async () => {
      const gate = new TestGate();
      setFailpoint('complete:before', () => gate.pass());
      await start(placed(() => undefined));
      await queue.emit('placed', '1');
      await gate.reached;
      expect(await queue.unacked()).toBe(1);
      gate.open();
      await queue.isSettled();
    });

    it('after the commit of a transactional handler', async () => {
      const database = await createTestDatabase('postgres');
      try {
        const dataSource = await database.open({ entities: [EntryEntity], synchronize: true });
        const durable = new TypeOrmStore(dataSource);
        const entries = dataSource.getRepository(EntryEntity);
        const gate = new TestGate();
        setFailpoint('commit:before', () => gate.pass());
        @Controller()
        class Shop {
          @EventPattern<string>('placed')
          @Idempotent({ mode: 'transactional' })
          async placed(@Ctx() context: RmqContext): Promise<void> {
            await entries.insert({ name: 'A-1' });
            channelOf(context).ack(context.getMessage());
          }
        }
        const shop = { store: durable, controllers: [Shop] };
        apps.push(await startConsumer(queue.server(), shop));
        await queue.emit('placed', '1');
        await gate.reached;
        expect(await queue.unacked()).toBe(1);
        gate.open();
        await queue.isSettled();
        await queue.emit('placed', '1');
        await queue.isSettled();
        expect(await entries.count()).toBe(1);
      } finally {
        await Promise.all(apps.splice(0).map((app) => app.close()));
        await database.drop();
      }
    });

    it('skipped duplicates', async () => {
      await start(placed(() => undefined));
      await queue.emit('placed', '1');
      await queue.emit('placed', '1');
      await queue.emit('placed', '2');
      await ran(2);
      await queue.isSettled();
      expect(doings.times('placed')).toBe(2);
    });

    it('what the handler acknowledged, once and after its outcome', async () => {
      const gate = new TestGate();
      setFailpoint('complete:before', () => gate.pass());
      await start(
        placed((context) => {
          channelOf(context).ack(context.getMessage());
          channelOf(context).ack(context.getMessage());
        }),
      );
      await queue.emit('placed', '1');
      await gate.reached;
      expect(await queue.unacked()).toBe(1);
      gate.open();
      await queue.isSettled();
      await queue.emit('placed', '2'); // the channel is as well as before
      await ran(2);
    });

    it('what the handler gave back, without taking its next delivery for a duplicate', async () => {
      await start(
        placed((context) => {
          if (doings.times('placed') === 1) {
            channelOf(context).nack(context.getMessage(), false, true);
          }
        }),
      );
      await queue.emit('placed', '1');
      await ran(2);
      await queue.isSettled();
      await queue.emit('placed', '1');
      await queue.isSettled();
      expect(doings.times('placed')).toBe(2);
    });

    it('what the handler rejected, to the dead letters', async () => {
      await start(placed((context) => channelOf(context).reject(context.getMessage(), false)));
      await queue.emit('placed', '1');
      await eventually(async () => (await queue.ready(queue.deadName)) === 1, 'it is dead');
      expect(await store.list({ limit: 10 })).toEqual([]);
    });

    it('what the handler acknowledged and then failed, by letting it come again', async () => {
      await start(
        placed((context) => {
          channelOf(context).ack(context.getMessage());
          if (doings.times('placed') === 1) {
            throw new Error('too late');
          }
        }),
      );
      await queue.emit('placed', '1');
      await ran(2);
      await queue.isSettled();
      expect(doings.times('placed')).toBe(2);
    });

    it('what a batch in the handler was refused for, by letting it come again', async () => {
      @Controller()
      class Shop {
        constructor(private readonly idempotency: IdempotencyService) {}

        @EventPattern<string>('placed')
        @Idempotent()
        async placed(): Promise<void> {
          doings.did('placed');
          const batch = { items: ['a', 'b'], key: (item: string) => item };
          await this.idempotency.executeBatch(batch, async (fresh) =>
            fresh.map(({ item }) => doings.did(item)),
          );
        }
      }
      await start(Shop);
      const elsewhere = apps[0]!.get(IdempotencyService).execute({ key: 'b' }, async () => {
        await doings.gate.pass();
        return 1;
      });
      await doings.gate.reached;
      await queue.emit('placed', '1');
      await ran(1);
      expect(await queue.unacked()).toBe(1);
      doings.gate.open();
      await elsewhere;
      await queue.isSettled();
      // however often it came while the other one ran
      expect(doings.runs.slice(-2)).toEqual(['placed', 'a']);
      expect([doings.times('a'), doings.times('b')]).toEqual([1, 0]);
    });

    it('two handlers of one event once, each of which acknowledges', async () => {
      @Controller()
      class Shop {
        @EventPattern<string>('placed')
        @Idempotent()
        mail(@Ctx() context: RmqContext): void {
          doings.did('mail');
          channelOf(context).ack(context.getMessage());
        }

        @EventPattern<string>('placed')
        @Idempotent()
        async stock(@Ctx() context: RmqContext): Promise<void> {
          await doings.gate.pass();
          doings.did('stock');
          channelOf(context).ack(context.getMessage());
        }
      }
      await start(Shop);
      await queue.emit('placed', '1');
      await ran(1, 'mail');
      expect(await queue.unacked()).toBe(1);
      doings.gate.open();
      await queue.isSettled();
      await queue.emit('placed', '2');
      await ran(2, 'stock');
    });

    it.each(['before', 'after'])(
      'beside a handler %s it that is not decorated and acknowledges by itself',
      async (place) => {
        @Controller()
        class Plain {
          @EventPattern<string>('placed')
          plain(@Ctx() context: RmqContext): void {
            doings.did('plain');
            channelOf(context).ack(context.getMessage());
          }
        }
        const decorated = placed(() => doings.gate.pass());
        // the other one is there before it
        UseGuards({ canActivate: () => new Promise((resolve) => setImmediate(resolve, true)) })(
          decorated,
        );
        const controllers = place === 'before' ? [Plain, decorated] : [decorated, Plain];
        await start(controllers);
        await queue.emit('placed', '1');
        await ran(1);
        await ran(1, 'plain');
        expect(await queue.unacked()).toBe(1);
        doings.gate.open();
        await queue.isSettled();
        await queue.emit('placed', '2');
        await ran(2);
        await ran(2, 'plain');
        await queue.isSettled();
      },
    );

    it('an event that names where to reply as what it is: it comes again when it failed', async () => {
      await start(
        placed(() => {
          if (doings.times('placed') === 1) {
            throw new Error('not yet');
          }
        }),
      );
      const properties = { messageId: '1', correlationId: 'c1', replyTo: queue.deadName };
      await queue.publish({ pattern: 'placed', data: {} }, properties);
      await ran(2);
      await queue.isSettled();
      expect(await queue.ready(queue.deadName)).toBe(0);
    });

    it('an event whose handler answers with an empty stream', async () => {
      await start(placed((): Observable<never> => EMPTY));
      await queue.emit('placed', '1');
      await ran(1);
      await queue.isSettled();
      await queue.emit('placed', '1');
      await queue.isSettled();
      expect(doings.times('placed')).toBe(1);
    });

    it('an event whose handler outlives an outer timeout', async () => {
      const impatient: NestInterceptor = {
        intercept: (_context, next) => next.handle().pipe(timeout(20)),
      };
      @Controller()
      @UseInterceptors(impatient)
      class Shop {
        @EventPattern<string>('placed')
        @Idempotent()
        async placed(): Promise<void> {
          doings.did('placed');
          await doings.gate.pass();
          doings.did('done');
        }
      }
      await start(Shop);
      await queue.emit('placed', '1');
      await ran(1);
      await new Promise((resolve) => setTimeout(resolve, 50)); // the timeout has passed
      doings.gate.open();
      await ran(1, 'done');
      await queue.isSettled();
      await queue.emit('placed', '1');
      await queue.isSettled();
      expect(doings.times('placed')).toBe(1);
    });

    it('events that wildcards meant, each handler counted', async () => {
      @Controller()
      class Shop {
        @EventPattern<string>('orders.*')
        @Idempotent()
        one(): void {
          doings.did('one');
        }

        @EventPattern<string>('orders.*')
        @Idempotent()
        two(): void {
          doings.did('two');
        }

        @EventPattern<string>('#')
        @Idempotent()
        rest(): void {
          doings.did('rest');
        }
      }
      await start(Shop, { wildcards: true });
      await queue.publishTo(queue.name, 'orders.placed', '1');
      await queue.publishTo(queue.name, 'orders.placed', '1');
      await queue.publishTo(queue.name, 'mails', '1');
      await ran(1, 'two');
      await ran(1, 'rest');
      await queue.isSettled();
      expect(doings.runs.toSorted()).toEqual(['one', 'rest', 'two']);
    });
  });

  describe('does not', () => {
    it('run in a loop what fails: it comes again after a while', async () => {
      await start(
        placed(() => {
          if (doings.times('placed') < 3) {
            throw new Error('not yet');
          }
        }),
      );
      const begun = performance.now();
      await queue.emit('placed', '1');
      await ran(3);
      // half a second at least, then one
      expect(performance.now() - begun).toBeGreaterThan(1_000);
      await queue.isSettled();
      expect(doings.times('placed')).toBe(3);
    });

    it('hold more than prefetchCount allows, delayed ones included', async () => {
      await start(
        placed((_context, { n }) => {
          if (n === 1) {
            throw new Error('not yet');
          }
          return doings.gate.pass();
        }),
        { prefetchCount: 2 },
      );
      for (const n of [1, 2, 3, 4]) {
        await queue.emit('placed', `${n}`, { n });
      }
      await ran(2);
      expect(await queue.unacked()).toBe(2);
      expect(await queue.ready()).toBe(2);
    });

    it('leave to a queue what it can never process', async () => {
      await start(placed(() => undefined));
      await queue.emit('placed', undefined);
      await queue.emit('placed', '1', { n: 1 });
      await ran(1);
      await queue.emit('placed', '1', { n: 2 }); // another message with the same id
      await eventually(async () => (await queue.ready(queue.deadName)) === 2, 'both are dead');
      await queue.isSettled();
      expect(doings.times('placed')).toBe(1);
    });

    it('touch the channel with noAck: true', async () => {
      @Controller()
      class Shop {
        @EventPattern<string>('placed')
        @Idempotent({ noAck: true })
        placed(): void {
          doings.did('placed');
        }
      }
      await start(Shop, { noAck: true });
      await queue.emit('placed', '1');
      await queue.emit('placed', '1');
      await queue.emit('placed', '2');
      await ran(2);
      expect(doings.times('placed')).toBe(2);
    });

    it('guess whether messages are acknowledged', async () => {
      @Controller()
      class Shop {
        @MessagePattern('price')
        @Idempotent()
        price(): void {
          doings.did('price');
        }
      }
      const options = { noAck: undefined } as never;
      apps.push(await startConsumer(queue.server(), { store, controllers: [Shop], options }));
      await expect(queue.ask('price', '1')).resolves.toMatchObject({
        err: {
          code: 'IDEMPOTENCY_MISCONFIGURED',
          message: expect.stringContaining('Write noAck: false'),
        },
      });
      expect(await queue.unacked()).toBe(1); // it may have been acknowledged, for all that is known
      expect(doings.runs).toEqual([]);
    });

    it('claim or settle what a guard turned away', async () => {
      @Controller()
      class Shop {
        @EventPattern<string>('placed')
        @UseGuards({ canActivate: () => doings.did('guard') > 1 })
        @Idempotent()
        placed(): void {
          doings.did('placed');
        }
      }
      await start(Shop);
      await queue.emit('placed', '1');
      await ran(1, 'guard');
      expect(await store.list({ limit: 10 })).toEqual([]);
      expect(await queue.unacked()).toBe(1);
      await apps.pop()!.close();
      await start(Shop); // it was given back with the channel
      await ran(1);
      await queue.isSettled();
    });
  });

  it('replays the reply to a request, and settles both', async () => {
    @Controller()
    class Shop {
      @MessagePattern('price')
      @Idempotent()
      price(): object {
        return { run: doings.did('price') };
      }
    }
    await start(Shop);
    const replies = [await queue.ask('price', '1'), await queue.ask('price', '1')];
    expect(replies).toMatchObject([{ response: { run: 1 } }, { response: { run: 1 } }]);
    await queue.isSettled();
  });

  it('settles an event that was sent as a request after all of its handlers', async () => {
    @Controller()
    class Shop {
      @EventPattern<string>('placed')
      @Idempotent()
      quick(): void {
        doings.did('quick');
      }

      @EventPattern<string>('placed')
      @Idempotent()
      async slow(): Promise<void> {
        await doings.gate.pass();
      }
    }
    await start(Shop);
    const reply = queue.ask('placed', '1');
    await ran(1, 'quick');
    expect(await queue.unacked()).toBe(1);
    doings.gate.open();
    await reply;
    await queue.isSettled();
  });

  it('survives the loss of its connection: the outcome stays, the redelivery is skipped', async () => {
    const { hostname: host, port } = new URL(rabbitUrl);
    const proxy = await startTcpProxy({ host, port: Number(port || 5672) });
    try {
      const url = new URL(rabbitUrl);
      url.hostname = '127.0.0.1';
      url.port = String(proxy.port);
      await start(
        placed(() => doings.gate.pass()),
        { url: url.href },
      );
      await queue.emit('placed', '1');
      await ran(1);
      proxy.mode('cut');
      proxy.mode('through');
      doings.gate.open();
      await queue.isSettled();
      expect(doings.times('placed')).toBe(1);
      await queue.emit('placed', '2');
      await ran(2);
      await queue.isSettled();
    } finally {
      await Promise.all(apps.splice(0).map((app) => app.close()));
      await proxy.close();
    }
  });

  it('gives delayed ones back when it ends, and lets running ones finish', async () => {
    await start(
      placed((_context, { n }) => {
        if (n === 1) {
          throw new Error('not yet');
        }
        return doings.gate.pass();
      }),
    );
    await queue.emit('placed', '1', { n: 1 });
    await queue.emit('placed', '2', { n: 2 });
    await ran(2);
    const closing = apps.pop()!.close();
    await eventually(async () => (await queue.ready()) === 2, 'both were given back', 900);
    doings.gate.open();
    await closing;
    expect(await store.list({ state: 'in-progress', limit: 10 })).toEqual([]);
    await start(placed((_context, { n }) => doings.did(`again ${n}`)));
    await ran(1, 'again 1');
    await queue.isSettled();
    expect(doings.times('again 2')).toBe(0);
  });

  it('gives back after a while what another instance is processing', async () => {
    const shop = (onConcurrent: 'reject' | 'wait') => {
      @Controller()
      class Shop {
        @EventPattern<string>('placed')
        @Idempotent({ onConcurrent, consumer: 'shop' })
        async placed(): Promise<void> {
          doings.did('placed');
          await doings.gate.pass();
        }
      }
      return Shop;
    };
    await start(shop('reject'), { prefetchCount: 1 });
    await queue.emit('placed', '1');
    await ran(1);
    await start(shop('reject'), { prefetchCount: 1 });
    await queue.emit('placed', '1');
    await eventually(async () => (await queue.unacked()) === 2, 'the other one has it', 8_000);
    doings.gate.open();
    await queue.isSettled();
    expect(doings.times('placed')).toBe(1);
  });

  it('acts on a quorum queue the same', async () => {
    const quorum = await TestQueue.open('quorum');
    try {
      const shop = placed(() => {
        if (doings.times('placed') === 1) {
          throw new Error('not yet');
        }
      });
      apps.push(await startConsumer(quorum.server(), { store, controllers: [shop] }));
      await quorum.emit('placed', '1');
      await quorum.emit('placed', '1');
      await ran(2);
      await quorum.isSettled();
      expect(doings.times('placed')).toBe(2);
    } finally {
      await Promise.all(apps.splice(0).map((app) => app.close()));
      await quorum.close();
    }
  });

  it('works in a hybrid application that calls its hooks twice', async () => {
    const app = await hybrid({ store, controllers: [placed(() => undefined)] });
    apps.push(app);
    app.connectMicroservice<MicroserviceOptions>(queue.server(), { deferInitialization: true });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    await queue.emit('placed', '1');
    await queue.emit('placed', '1');
    await ran(1);
    await queue.isSettled();
    expect(doings.times('placed')).toBe(1);
  });

  describe.each([true, false])('in a hybrid application, inheritAppConfig: %s', (inherits) => {
    it('processes once what comes before it listens, and answers HTTP', async () => {
      await queue.emit('placed', '1');
      await queue.emit('placed', '1');
      const app = await hybrid({ store, controllers: [placed(() => undefined)] });
      apps.push(app);
      app.connectMicroservice<MicroserviceOptions>(queue.server(), { inheritAppConfig: inherits });
      await app.startAllMicroservices();
      await ran(1);
      await app.listen(0, '127.0.0.1');
      await queue.emit('placed', '1');
      await queue.isSettled();
      expect(doings.times('placed')).toBe(1);
      await expect(fetch(await app.getUrl())).resolves.toMatchObject({ status: 404 });
    });
  });
});
