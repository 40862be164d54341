import 'reflect-metadata';
import { applyDecorators, Controller, Logger, UseGuards, type Type } from '@nestjs/common';
import { Ctx, EventPattern, type RmqContext } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { EMPTY, type Observable } from 'rxjs';
import { Idempotent } from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import { apps, doings, queue, ran, start, useRabbit } from '../support/messages/rabbit-stage.js';
import { rabbitUrl, TestQueue } from '../support/messages/rabbit.js';

beforeAll(() => Logger.overrideLogger(false));

function ack(context: RmqContext): void {
  (context.getChannelRef() as { ack(message: object): void }).ack(context.getMessage());
}

(rabbitUrl === '' ? describe.skip : describe)('Several handlers of one event of RabbitMQ', () => {
  useRabbit();

  /** A decorated handler of `placed`, behind a guard. */
  function guarded(guard: () => Promise<void>): Type {
    @Controller()
    class Guarded {
      @EventPattern<string>('placed')
      @UseGuards({ canActivate: () => guard().then(() => true) })
      @Idempotent()
      guarded(): void {
        doings.did('guarded');
      }
    }
    return Guarded;
  }

  it.each<[string, MethodDecorator[]]>([
    ['decorated', [Idempotent()]],
    ['not decorated', []],
  ])(
    'reach one whose guards are still asked, though another one, %s, has failed',
    async (_, decorators) => {
      @Controller()
      class Failing {
        @EventPattern<string>('placed')
        @applyDecorators(...decorators)
        failing(): void {
          if (doings.did('failing') === 1) {
            throw new Error('not yet');
          }
        }
      }
      const gate = new TestGate();
      await start([Failing, guarded(() => gate.pass())]);
      await queue.emit('placed', '1');
      await gate.reached;
      await ran(1, 'failing');
      gate.open();
      await queue.isSettled();
      expect(doings.times('guarded')).toBe(1);
    },
  );

  it('reach one whose guards are still asked, though one that is not decorated answers nothing', async () => {
    const gate = new TestGate();
    @Controller()
    class Empty {
      @EventPattern<string>('placed')
      nothing(): Observable<never> {
        doings.did('nothing');
        return EMPTY;
      }
    }
    await start([Empty, guarded(() => gate.pass())]);
    await queue.emit('placed', '1');
    await gate.reached;
    await ran(1, 'nothing');
    gate.open();
    await queue.isSettled();
    expect(doings.times('guarded')).toBe(1);
  });

  it('leave alone what the same handler acknowledges where it has no decorated one beside it', async () => {
    @Controller()
    class Plain {
      @EventPattern<string>(['placed', 'alone'] as never)
      plain(@Ctx() context: RmqContext): void {
        doings.did('plain');
        ack(context);
      }
    }
    const decorated = guarded(async () => undefined);
    const other = await TestQueue.open();
    const bare = () => Test.createTestingModule({ controllers: [Plain] }).compile();
    try {
      const earlier = await bare();
      await start([Plain, decorated]);
      const later = await bare();
      for (const module of [earlier, later]) {
        const app = module.createNestMicroservice({ ...other.server(), logger: false });
        apps.push(app);
        await app.listen();
        await other.emit('placed', '1');
        await other.isSettled();
        await app.close();
      }
      await queue.emit('alone', '1');
      await queue.isSettled();
      expect(doings.runs).toEqual(['plain', 'plain', 'plain']);
    } finally {
      await other.close();
    }
  });

  it('are settled together in every application that has them', async () => {
    @Controller()
    class Plain {
      @EventPattern<string>('placed')
      plain(@Ctx() context: RmqContext): void {
        doings.did('plain');
        ack(context);
      }
    }
    for (const run of [1, 2]) {
      const gate = new TestGate();
      await start([Plain, guarded(() => gate.pass())]);
      await queue.emit('placed', `${run}`);
      await ran(run, 'plain');
      await gate.reached;
      expect(await queue.unacked()).toBe(1);
      gate.open();
      await queue.isSettled();
      expect(doings.times('guarded')).toBe(run);
      await apps.pop()!.close();
    }
  });
});
