import 'reflect-metadata';
import {
  type CustomTransportStrategy,
  EventPattern,
  MessagePattern,
  Server,
  Transport,
} from '@nestjs/microservices';
import { IDEMPOTENCY_CODES } from '../../src/engine/errors.js';
import {
  entryPointOf,
  isRabbitEventHandler,
  patternsOf,
} from '../../src/messaging/handler-kind.js';
import { matchesPattern } from '../../src/messaging/rabbitmq/pattern.js';
import { ACK, DEAD_LETTER, requeue, together } from '../../src/messaging/rabbitmq/verdict.js';
import { refusalOf } from '../../src/messaging/refusal.js';

type Pattern = string | number | object | readonly (string | object)[];

function handlerOf(
  decorate: (target: object, name: string, descriptor: PropertyDescriptor) => unknown,
): object {
  class Shop {
    handle(): void {}
  }
  const descriptor = Object.getOwnPropertyDescriptor(Shop.prototype, 'handle');
  decorate(Shop.prototype, 'handle', descriptor as PropertyDescriptor);
  return Shop.prototype.handle;
}

/** Tells how Nest itself writes a pattern. */
class Routes extends Server implements CustomTransportStrategy {
  listen(callback: () => void): void {
    callback();
  }
  close(): void {}
  on(): void {}
  unwrap(): never {
    throw new Error('There is nothing to unwrap.');
  }
  of(pattern: unknown): string {
    return this.normalizePattern(pattern as never);
  }
}

describe('The patterns of a handler', () => {
  it.each<[Pattern]>([
    ['order.placed'],
    [7],
    [{ cmd: 'price' }],
    [{ z: 1, a: { y: 'x', b: true } }],
    [{ with: 'a "quote" and a \\' }],
    [{ 'a "name"': 1 }],
  ])('are written as Nest writes %p', (pattern) => {
    const handler = handlerOf(EventPattern(pattern));
    expect(patternsOf(handler)).toEqual([new Routes().of(pattern)]);
  });

  it('may be many', () => {
    const handler = handlerOf(MessagePattern(['a', { cmd: 'b' }] as never));
    expect(patternsOf(handler)).toEqual(['a', '{"cmd":"b"}']);
  });

  it('may be a regular expression', () => {
    expect(patternsOf(handlerOf(EventPattern(/^order\./)))).toEqual(['/^order\\./']);
  });
});

describe('Who calls a handler', () => {
  it('is told by its decorator', () => {
    expect(entryPointOf(handlerOf(EventPattern<string>('a')))).toBe('message');
    expect(entryPointOf(handlerOf(() => undefined))).toBeUndefined();
  });

  it('may lose it, where RabbitMQ hands it events', () => {
    expect(isRabbitEventHandler(handlerOf(EventPattern<string>('a')))).toBe(true);
    expect(isRabbitEventHandler(handlerOf(EventPattern<string>('a', Transport.RMQ)))).toBe(true);
    expect(isRabbitEventHandler(handlerOf(EventPattern<string>('a', Transport.KAFKA)))).toBe(false);
    expect(isRabbitEventHandler(handlerOf(MessagePattern('a')))).toBe(false);
  });
});

describe('A pattern of RabbitMQ', () => {
  it.each([
    ['order.placed', 'order.placed'],
    ['order.*', 'order.placed'],
    ['*.placed', 'order.placed'],
    ['order.#', 'order'],
    ['order.#', 'order.placed.twice'],
    ['#', ''],
    ['#', 'a.b.c'],
    ['#.c', 'a.b.c'],
    ['a.#.c', 'a.c'],
    ['a.#.*', 'a.b'],
    ['#.#', 'a'],
  ])('%s means %s', (pattern, key) => {
    expect(matchesPattern(pattern, key)).toBe(true);
  });

  it.each([
    ['order.*', 'order'],
    ['order.*', 'order.placed.twice'],
    ['*', 'a.b'],
    ['order.#', 'orders.placed'],
    ['a.#.c', 'a.b'],
    ['a.#.*', 'a'],
    ['ord*', 'order'],
  ])('%s does not mean %s', (pattern, key) => {
    expect(matchesPattern(pattern, key)).toBe(false);
  });
});

describe('The verdict of several handlers of one delivery', () => {
  it.each([
    ['all are done', [ACK, ACK], ACK],
    ['nobody says a thing', [], ACK],
    ['one needs it again', [ACK, requeue(5)], requeue(5)],
    ['two need it again', [requeue(5), requeue(9)], requeue(9)],
    ['one gave it up', [ACK, DEAD_LETTER], DEAD_LETTER],
    ['one gave it up, another needs it again', [DEAD_LETTER, requeue(5)], requeue(5)],
  ])('when %s', (_, verdicts, verdict) => {
    expect(together(verdicts)).toEqual(verdict);
  });
});

describe('What a refusal is worth', () => {
  it('is settled for every code', () => {
    const worth = IDEMPOTENCY_CODES.map((code) => [
      code.replace('IDEMPOTENCY_', ''),
      refusalOf(code),
    ]);
    expect(Object.fromEntries(worth)).toEqual({
      RESULT_UNAVAILABLE: 'done',
      REPLAY_FORBIDDEN: 'done',
      KEY_EXPIRED: 'never',
      OUTCOME_UNCERTAIN: 'never',
      PARKED: 'never',
      RECORD_UNREADABLE: 'never',
      KEY_MISSING: 'wrong',
      KEY_INVALID: 'wrong',
      KEY_REUSED: 'wrong',
      MISCONFIGURED: 'later',
      TOO_MANY_KEYS: 'later',
      IN_PROGRESS: 'later',
      STORE_UNAVAILABLE: 'later',
      SHUTTING_DOWN: 'later',
      TRANSACTION_BROKEN: 'later',
      TRANSACTION_CONFLICT: 'later',
      STEPS_CHANGED: 'later',
    });
  });
});
