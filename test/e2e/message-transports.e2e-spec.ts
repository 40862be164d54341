import 'reflect-metadata';
import type { INestMicroservice } from '@nestjs/common';
import { memoryStore, type IdempotencyStore } from 'nestjs-idempotency';
import { Doings, shopController, startShop } from '../support/messages/message-shop.js';
import {
  ask,
  emit,
  newName,
  transports,
  type MessagePlace,
} from '../support/messages/transports.js';
import { eventually } from '../support/http.js';

const there = transports.filter(({ isThere }) => isThere);

describe.each(there)('Messages over $name', (transport) => {
  let place: MessagePlace;
  let prefix: string;
  let store: IdempotencyStore;
  let doings: Doings;
  let instances: INestMicroservice[];
  let id: string;

  beforeEach(async () => {
    prefix = newName();
    id = newName();
    place = await transport.open();
    store = memoryStore();
    doings = new Doings();
    instances = [];
    await start();
    await place.client.connect();
  });
  afterEach(async () => {
    doings.gate.open();
    await place.close();
    await Promise.all(instances.map((app) => app.close()));
  });

  async function start(own = doings): Promise<void> {
    instances.push(await startShop(place, store, [shopController(own, prefix)]));
  }

  /** The transports keep order, so that whatever came before has been delivered when this is done. */
  async function settled(other?: Doings): Promise<void> {
    const marker = newName();
    const runs = (what: string) => doings.times(what) + (other?.times(what) ?? 0);
    await emit(place, `${prefix}.placed`, place.withId({ order: marker }, marker));
    await eventually(() => runs(`placed ${marker}`) === 1, 'the marker was processed');
  }

  const order = { order: 'A-1' };

  it('processes an event that was sent twice once', async () => {
    await emit(place, `${prefix}.placed`, place.withId(order, id));
    await emit(place, `${prefix}.placed`, place.withId(order, id));
    await settled();
    expect(doings.times('placed A-1')).toBe(1);
  });

  it('processes two events with different ids', async () => {
    await emit(place, `${prefix}.placed`, place.withId(order, id));
    await emit(place, `${prefix}.placed`, place.withId(order, `${id}-2`));
    await eventually(() => doings.times('placed A-1') === 2, 'both were processed');
  });

  it('replays the reply to a request that was sent twice', async () => {
    const first = await ask(place, `${prefix}.price`, place.withId(order, id));
    const second = await ask(place, `${prefix}.price`, place.withId(order, id));
    expect([first, second]).toEqual([
      { order: 'A-1', run: 1 },
      { order: 'A-1', run: 1 },
    ]);
  });

  it('replays an error that was stored', async () => {
    const answers = [1, 2].map(() =>
      ask(place, `${prefix}.refuse`, place.withId(order, id)).catch((error: unknown) => error),
    );
    const [first, second] = await Promise.all(answers);
    expect(second).toEqual(first);
    expect(doings.times('refuse A-1')).toBe(1);
  });

  it('lets two handlers of one event each process it once', async () => {
    await emit(place, `${prefix}.shipped`, place.withId(order, id));
    await emit(place, `${prefix}.shipped`, place.withId(order, id));
    await settled();
    await eventually(() => doings.times('stock A-1') === 1, 'the second handler ran');
    expect(doings.times('mail A-1')).toBe(1);
  });

  it('keeps the outcome of a handler whose sibling throws', async () => {
    await emit(place, `${prefix}.mixed`, place.withId({ ...order, fails: 1 }, id));
    await eventually(() => doings.times('slow A-1 begun') === 1, 'the slow one began');
    await eventually(() => doings.times('throwing A-1') === 1, 'the other one threw');
    doings.gate.open();
    await eventually(() => doings.times('slow A-1') === 1, 'the slow one ended');
    await emit(place, `${prefix}.mixed`, place.withId({ ...order, fails: 1 }, id));
    await eventually(() => doings.times('throwing A-1') === 2, 'the failed one ran again');
    await settled();
    expect(doings.times('slow A-1')).toBe(1);
  });

  it('runs a handler that failed when its message comes again', async () => {
    await emit(place, `${prefix}.failing`, place.withId({ ...order, fails: 1 }, id));
    await eventually(() => doings.times('failing A-1') >= 1, 'it ran once');
    if (!transport.redelivers) {
      await eventually(
        async () => (await store.list({ limit: 10 })).length === 0,
        'it was released',
      );
      await emit(place, `${prefix}.failing`, place.withId({ ...order, fails: 1 }, id));
    }
    await eventually(() => doings.times('failing A-1') === 2, 'it ran again');
  });

  it('runs a request again that failed', async () => {
    // a record may be sent once
    const message = () => place.withId({ ...order, fails: 1 }, id);
    await expect(ask(place, `${prefix}.failing-request`, message())).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
    await expect(ask(place, `${prefix}.failing-request`, message())).resolves.toEqual({
      order: 'A-1',
      run: 2,
    });
  });

  it('tells a request in flight when to ask again', async () => {
    const first = ask(place, `${prefix}.held-request`, place.withId(order, id));
    await eventually(() => doings.times('held request A-1') === 1, 'the first one runs');
    const second = ask(place, `${prefix}.held-request`, place.withId(order, id));
    await expect(second).rejects.toMatchObject({
      status: 'error',
      code: 'IDEMPOTENCY_IN_PROGRESS',
      retryAfter: 1,
    });
    doings.gate.open();
    await expect(first).resolves.toEqual({ order: 'A-1', run: 1 });
  });

  if (transport.fansOut || transport.redelivers) {
    it('processes an event once that several instances get', async () => {
      const other = new Doings();
      await start(other);
      await emit(place, `${prefix}.placed`, place.withId(order, id));
      await emit(place, `${prefix}.placed`, place.withId(order, id));
      await settled(other);
      const runs = (what: string) => doings.times(what) + other.times(what);
      await eventually(() => runs('placed A-1') === 1, 'it was processed');
    });

    it('does not run an event that another instance is processing', async () => {
      const other = new Doings();
      await start(other);
      const runs = (what: string) => doings.times(what) + other.times(what);
      await emit(place, `${prefix}.held`, place.withId(order, id));
      await eventually(() => runs('held A-1') === 1, 'one of them runs');
      await emit(place, `${prefix}.held`, place.withId(order, id));
      await settled(other);
      doings.gate.open();
      other.gate.open();
      await eventually(
        async () => (await store.list({ state: 'in-progress', limit: 10 })).length === 0,
        'nothing runs any more',
      );
      await settled(other);
      expect(runs('held A-1')).toBe(1);
    });
  }

  it('tells a request without an id which option names one', async () => {
    await expect(
      ask(place, `${prefix}.price`, place.withId(order, undefined)),
    ).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_MISSING',
      message: expect.stringContaining("@Idempotent({ messageId: 'orderId' })"),
    });
    expect(doings.runs).toEqual([]);
  });

  it('refuses another payload with the same id', async () => {
    await ask(place, `${prefix}.price`, place.withId(order, id));
    await expect(
      ask(place, `${prefix}.price`, place.withId({ order: 'B-2' }, id)),
    ).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
  });

  if (transport.hasHeaders) {
    it('prefers the header idempotency-key to an id of the payload', async () => {
      const asked = (key: string) => {
        const message = place.withId({ ...order, messageId: '1' }, key, 'idempotency-key');
        return ask(place, `${prefix}.price`, message);
      };
      await asked(id);
      await expect(asked(id)).resolves.toMatchObject({ run: 1 });
      await expect(asked(`${id}-2`)).resolves.toMatchObject({ run: 2 });
    });
  }
});
