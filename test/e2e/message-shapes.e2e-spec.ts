import 'reflect-metadata';
import type { INestApplication, INestMicroservice } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { firstValueFrom } from 'rxjs';
import { IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { eventually } from '../support/http.js';
import { Doings, shopController, startShop } from '../support/messages/message-shop.js';
import { oddController, scopedController } from '../support/messages/odd-shop.js';
import {
  ask,
  emit,
  newName,
  transports,
  type MessagePlace,
} from '../support/messages/transports.js';

const there = transports.filter(({ isThere }) => isThere);
const order = { order: 'A-1' };

describe.each(there)('Handlers of every kind over $name', (transport) => {
  let place: MessagePlace;
  let app: INestMicroservice;
  let doings: Doings;
  let prefix: string;
  let id: string;

  beforeEach(async () => {
    doings = new Doings();
    prefix = newName();
    id = newName();
    place = await transport.open();
    const controllers = [oddController(doings, prefix), scopedController(doings, prefix)];
    app = await startShop(place, memoryStore(), controllers);
    await place.client.connect();
  });
  afterEach(async () => {
    doings.gate.open();
    await place.close();
    await app.close();
  });

  const asked = (pattern: string, key: string | undefined = id) =>
    ask(place, `${prefix}.${pattern}`, place.withId(order, key));

  it('keeps the outcome of a handler that a timeout outside has given up', async () => {
    await expect(asked('slow')).rejects.toBeDefined();
    doings.gate.open();
    await eventually(() => doings.times('slow A-1 done') === 1, 'the handler went on');
    await eventually(
      async () => (await asked('slow').catch(() => undefined)) !== undefined,
      'the retry got an answer',
    );
    expect(doings.times('slow A-1')).toBe(1);
  });

  it('does not leave anybody hanging whose handler answers nothing', async () => {
    const nothing = () =>
      firstValueFrom(place.client.send<unknown>(`${prefix}.nothing`, place.withId(order, id)), {
        defaultValue: 'nothing',
      });
    await nothing();
    await nothing();
    expect(doings.times('nothing')).toBe(1);
  });

  it('answers the last of several values, the first time too', async () => {
    await expect(asked('several')).resolves.toEqual({ run: 1, value: 3 });
    await expect(asked('several')).resolves.toEqual({ run: 1, value: 3 });
  });

  it('protects handlers of a request-scoped controller', async () => {
    const first = await asked('scoped');
    await expect(asked('scoped')).resolves.toEqual(first);
    expect(doings.times('scoped')).toBe(1);
  });

  it('answers two requests at once with one run', async () => {
    const first = asked('waiting');
    await doings.gate.reached;
    const second = asked('waiting');
    doings.gate.open();
    await expect(Promise.all([first, second])).resolves.toEqual([
      { order: 'A-1', run: 1 },
      { order: 'A-1', run: 1 },
    ]);
  });

  it('runs without an id where none is required', async () => {
    const without = () => ask(place, `${prefix}.optional`, place.withId(order, undefined));
    await expect(without()).resolves.toEqual({ run: 1 });
    await expect(without()).resolves.toEqual({ run: 2 });
    await expect(asked('optional')).resolves.toEqual({ run: 3 });
    await expect(asked('optional')).resolves.toEqual({ run: 3 });
  });

  it.each<[string, unknown, unknown]>([
    ['numbers', 1, 2],
    ['lists', ['a'], ['b']],
    ['objects', { id: 'a' }, { id: 'b' }],
    ['bytes', Buffer.from('a').toJSON(), Buffer.from('b').toJSON()],
  ])('takes %s for ids', async (_, one, other) => {
    const several = (messageId: unknown) => {
      const message = transport.hasHeaders
        ? place.withId({ ...order, messageId }, undefined)
        : place.withId(order, messageId as string);
      return ask(place, `${prefix}.several`, message);
    };
    await expect(several(one)).resolves.toMatchObject({ run: 1 });
    await expect(several(one)).resolves.toMatchObject({ run: 1 });
    await expect(several(other)).resolves.toMatchObject({ run: 2 });
  });
});

describe.each(there.filter(({ name }) => name === 'RabbitMQ'))('Headers of $name', (transport) => {
  it.each<[string, unknown, unknown]>([
    ['bytes that are no text', Buffer.from([255, 1]), Buffer.from([254, 1])],
    ['lists', ['a'], ['b']],
    ['tables', { id: 'a' }, { id: 'b' }],
    ['numbers', 1, 2],
  ])('may hold %s', async (_, one, other) => {
    const doings = new Doings();
    const prefix = newName();
    const place = await transport.open();
    const app = await startShop(place, memoryStore(), [oddController(doings, prefix)]);
    try {
      const several = (key: unknown) =>
        ask(place, `${prefix}.several`, place.withId(order, key as Buffer, 'idempotency-key'));
      await expect(several(one)).resolves.toMatchObject({ run: 1 });
      await expect(several(one)).resolves.toMatchObject({ run: 1 });
      await expect(several(other)).resolves.toMatchObject({ run: 2 });
    } finally {
      await place.close();
      await app.close();
    }
  });
});

describe.each(there)('A hybrid application over $name', (transport) => {
  it.each([false, true])('is protected with inheritAppConfig: %p', async (inheritAppConfig) => {
    const doings = new Doings();
    const prefix = newName();
    const place = await transport.open();
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), noAck: false })],
      controllers: [shopController(doings, prefix)],
    }).compile();
    const app: INestApplication = module.createNestApplication({ logger: false });
    app.connectMicroservice(place.server, { inheritAppConfig });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    await place.client.connect();
    try {
      const price = () => ask<object>(place, `${prefix}.price`, place.withId(order, `${prefix}-1`));
      await expect(price()).resolves.toEqual({ order: 'A-1', run: 1 });
      await expect(price()).resolves.toEqual({ order: 'A-1', run: 1 });
      for (const key of ['2', '2', '3']) {
        await emit(place, `${prefix}.placed`, place.withId(order, `${prefix}-${key}`));
      }
      await eventually(() => doings.times('placed A-1') === 2, 'two were processed');
    } finally {
      await place.close();
      await app.close();
    }
  });
});
