import 'reflect-metadata';
import { Controller, Logger } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RmqRecordBuilder,
  type MicroserviceOptions,
  type RmqContext,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { uuidv7 } from 'nestjs-idempotency/client';
import { withMessageIds, type IdentifiedClient } from 'nestjs-idempotency/client/messages';
import { firstValueFrom, lastValueFrom, mergeMap, retry } from 'rxjs';
import { eventually } from '../support/http.js';
import { transports, type MessagePlace } from '../support/messages/transports.js';

let runs: unknown[] = [];
let contexts: unknown[] = [];

@Controller()
class Receiver {
  @EventPattern('order.placed')
  @Idempotent({ messageId: 'messageId' })
  placed(@Payload() payload: unknown, @Ctx() context: unknown): void {
    runs.push(payload);
    contexts.push(context);
  }

  @MessagePattern('order.pay')
  @Idempotent({ messageId: 'messageId' })
  pay(@Payload() payload: unknown): number {
    return runs.push(payload);
  }
}

beforeAll(() => Logger.overrideLogger(false));

describe.each(transports.filter(({ isThere }) => isThere))('ids over $name', (transport) => {
  let place: MessagePlace;
  let receiver: { close(): Promise<void> };
  let client: IdentifiedClient;

  beforeEach(async () => {
    runs = [];
    contexts = [];
    place = await transport.open();
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false, noAck: false })],
      controllers: [Receiver],
    }).compile();
    const app = module.createNestMicroservice<MicroserviceOptions>({
      ...place.server,
      logger: false,
    });
    await app.listen();
    receiver = app;
    client = withMessageIds(place.client, transport.hasHeaders ? {} : { idField: 'messageId' });
  });
  afterEach(async () => {
    await receiver.close();
    await place.close();
  });

  it('lets a request that is asked again have the first reply', async () => {
    let tries = 0;
    const asked = client.send<number>('order.pay', { order: 1 }).pipe(
      mergeMap(async (reply) => {
        tries += 1;
        // as if the reply had been lost
        if (tries < 3) throw new Error('lost');
        return reply;
      }),
      retry(2),
    );
    expect(await firstValueFrom(asked)).toBe(1);
    expect(tries).toBe(3);
    expect(runs).toHaveLength(1);
    // another call is another request, unless it has the same id
    expect(await firstValueFrom(client.send('order.pay', { order: 1 }))).toBe(2);
    const id = uuidv7();
    for (let n = 0; n < 2; n += 1) {
      expect(await firstValueFrom(client.send('order.pay', { order: 1 }, { id }))).toBe(3);
    }
  });

  it('emits without a subscriber, and what comes twice counts once', async () => {
    const id = uuidv7();
    client.emit('order.placed', { order: 1 }, { id, headers: { trace: 't-1' } });
    await lastValueFrom(client.emit('order.placed', { order: 1 }, { id }), { defaultValue: 0 });
    await lastValueFrom(client.emit('order.placed', { order: 2 }), { defaultValue: 0 });
    await eventually(() => runs.length >= 2, 'two events');
    const field = transport.hasHeaders ? {} : { messageId: expect.any(String) };
    expect(runs).toEqual([
      { order: 1, ...field },
      { order: 2, ...field },
    ]);
    if (transport.name === 'RabbitMQ') {
      const { properties } = (contexts[0] as RmqContext).getMessage() as { properties: object };
      expect(properties).toMatchObject({
        messageId: id,
        headers: { 'idempotency-key': id, trace: 't-1' },
      });
    }
  });
});

const nobody = { emit: () => lost(), send: () => lost() };
function lost(): never {
  throw new Error('must not be called');
}

it('fails where messages cannot carry an id', async () => {
  const client = withMessageIds(nobody);
  for (const sent of [client.emit('order.placed', {}), client.send('order.pay', {})]) {
    await expect(lastValueFrom(sent)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining("withMessageIds(client, { idField: 'messageId' })"),
    });
  }
  const filling = withMessageIds(nobody, { idField: 'messageId' });
  await expect(lastValueFrom(filling.send('order.pay', 'text'))).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISCONFIGURED',
  });
});

it('refuses what it cannot do, at once', () => {
  const refused = expect.objectContaining({ code: 'IDEMPOTENCY_MISCONFIGURED' });
  const client = withMessageIds(nobody, { idField: 'messageId' });
  expect(() => withMessageIds(nobody, { idField: '' })).toThrow(refused);
  expect(() => client.send('order.pay', {}, { id: '' })).toThrow(refused);
  expect(() => client.emit('order.placed', new RmqRecordBuilder({}).build())).toThrow(refused);
});
