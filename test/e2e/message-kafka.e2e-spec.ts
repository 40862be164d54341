import 'reflect-metadata';
import { Controller } from '@nestjs/common';
import {
  EventPattern,
  KafkaRetriableException,
  MessagePattern,
  Payload,
} from '@nestjs/microservices';
import { EMPTY, type Observable } from 'rxjs';
import { Idempotent, memoryStore, type IdempotencyStore } from 'nestjs-idempotency';
import { eventually } from '../support/http.js';
import { KafkaPlace, type KafkaDelivery } from '../support/messages/kafka.js';
import { Doings, type Order } from '../support/messages/message-shop.js';

/** A pipe that does not take every order. */
function checkedOrder(value: Order): Order {
  if (value.order === '') {
    throw new Error('no order');
  }
  return value;
}

function shop(doings: Doings): new () => object {
  @Controller()
  class Shop {
    @EventPattern<string>('placed')
    @Idempotent()
    placed(@Payload() { order }: Order): void {
      doings.did(`placed ${order}`);
    }

    @EventPattern<string>('moved')
    @Idempotent({ kafkaPosition: true })
    moved(@Payload() { order }: Order): void {
      doings.did(`moved ${order}`);
    }

    @EventPattern<string>('failing')
    @Idempotent()
    failing(@Payload() { order, fails = 0 }: Order): void {
      if (doings.did(`failing ${order}`) <= fails) {
        throw new Error('not yet');
      }
    }

    @EventPattern<string>('retriable')
    @Idempotent({ errors: 'store-all' })
    retriable(): void {
      if (doings.did('retriable') === 1) {
        throw new KafkaRetriableException('not yet');
      }
    }

    @EventPattern<string>('held')
    @Idempotent({ waitTimeout: '1500ms' })
    async held(@Payload() { order }: Order): Promise<void> {
      doings.did(`held ${order}`);
      await doings.gate.pass();
    }

    @EventPattern<string>('checked')
    @Idempotent({ errors: 'store-all' })
    checked(@Payload({ transform: checkedOrder }) { order }: Order): void {
      doings.did(`checked ${order}`);
    }

    @EventPattern<string>('nothing')
    @Idempotent()
    nothing(): Observable<never> {
      doings.did('nothing');
      return EMPTY;
    }

    @EventPattern<string>('poison')
    @Idempotent({ attempts: { max: 1 } })
    poison(): void {
      doings.did('poison');
      throw new Error('never');
    }

    @MessagePattern('price')
    @Idempotent()
    price(@Payload() { order }: Order): object {
      return { order, run: doings.did(`price ${order}`) };
    }

    @MessagePattern('poison-price')
    @Idempotent({ attempts: { max: 1 } })
    poisonPrice(): void {
      doings.did('poison price');
      throw new Error('never');
    }

    @MessagePattern('held-price')
    @Idempotent({ onConcurrent: 'reject' })
    async heldPrice(): Promise<object> {
      const run = doings.did('held price');
      await doings.gate.pass();
      return { run };
    }
  }
  return Shop;
}

describe('Messages of Kafka', () => {
  let place: KafkaPlace;
  let store: IdempotencyStore;
  let doings: Doings;

  beforeEach(async () => {
    doings = new Doings();
    store = memoryStore();
    place = await KafkaPlace.start(store, [shop(doings)]);
  });
  afterEach(async () => {
    doings.gate.open();
    await place.close();
  });

  const value = { order: 'A-1' };
  const withKey = (key: string | Buffer) => ({ 'idempotency-key': Buffer.from(key) });

  function sent(topic: string, headers: KafkaDelivery['headers'], more = {}) {
    return place.deliver({ topic, value: { ...value, ...more }, headers });
  }

  it.each<[string, KafkaDelivery['headers'], KafkaDelivery['headers']]>([
    ['the header idempotency-key', withKey('k1'), withKey('k2')],
    ['the header in other letters', { 'Idempotency-Key': 'k1' }, { 'Idempotency-Key': 'k2' }],
    ['a header that was parsed', withKey('{"id":1}'), withKey('{"id":2}')],
    ['a header that was parsed as a list', withKey('["k1"]'), withKey('["k2"]')],
    [
      'bytes that begin with zero',
      withKey(Buffer.from([0, 255, 1])),
      withKey(Buffer.from([0, 254, 1])),
    ],
    [
      'CloudEvents, with its source',
      { ce_id: Buffer.from('1'), ce_source: Buffer.from('/a') },
      { ce_id: Buffer.from('1'), ce_source: Buffer.from('/b') },
    ],
    ['the header messageId', { messageId: 'k1' }, { messageId: 'k2' }],
  ])('tells messages apart by %s', async (_, one, other) => {
    await sent('placed', one);
    await sent('placed', one);
    expect(doings.times('placed A-1')).toBe(1);
    await sent('placed', other);
    expect(doings.times('placed A-1')).toBe(2);
  });

  it('tells messages apart by their position where it is asked for', async () => {
    const at = (partition: number, offset: string) =>
      place.deliver({ topic: 'moved', value, partition, offset });
    await at(0, '7');
    await at(0, '7');
    expect(doings.times('moved A-1')).toBe(1);
    await at(1, '7');
    await at(0, '8');
    expect(doings.times('moved A-1')).toBe(3);
  });

  it('rejects what has no id, and does not take a correlation id for one', async () => {
    await expect(sent('placed', { kafka_correlationId: 'c1' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_MISSING',
    });
    expect(doings.runs).toEqual([]);
  });

  it('lets a failed message come again, and runs it', async () => {
    await expect(sent('failing', withKey('k1'), { fails: 1 })).rejects.toBeDefined();
    await sent('failing', withKey('k1'), { fails: 1 });
    await sent('failing', withKey('k1'), { fails: 1 });
    expect(doings.times('failing A-1')).toBe(2);
  });

  it('does not store a retriable error, whatever the policy says', async () => {
    await expect(sent('retriable', withKey('k1'))).rejects.toBeDefined();
    await sent('retriable', withKey('k1'));
    expect(doings.times('retriable')).toBe(2);
  });

  it('keeps nothing of a message that a pipe rejects, whatever the policy says', async () => {
    await expect(sent('checked', withKey('k1'), { order: '' })).rejects.toBeDefined();
    expect(await store.list({ limit: 10 })).toEqual([]);
    await sent('checked', withKey('k1'));
    expect(doings.times('checked A-1')).toBe(1);
  });

  it('goes on behind an event whose handler answers nothing', async () => {
    await sent('nothing', withKey('k1'));
    await sent('nothing', withKey('k1'));
    expect(doings.times('nothing')).toBe(1);
  });

  it('sends heartbeats while an event waits for another consumer, and lets it come again', async () => {
    const other = new Doings();
    const second = await KafkaPlace.start(store, [shop(other)]);
    const first = sent('held', withKey('k1'));
    await doings.gate.reached;
    let heartbeats = 0;
    const heartbeat = async () => {
      heartbeats += 1;
    };
    const delivery = { topic: 'held', value, headers: withKey('k1'), heartbeat };
    await expect(second.deliver(delivery)).rejects.toBeDefined();
    expect(heartbeats).toBeGreaterThanOrEqual(1);
    doings.gate.open();
    await first;
    await second.deliver(delivery);
    expect(other.runs).toEqual([]);
    await second.close();
  });

  it('outlives a heartbeat that fails', async () => {
    const failing = async () => {
      throw new Error('rebalancing');
    };
    const delivery = place.deliver({
      topic: 'held',
      value,
      headers: withKey('k1'),
      heartbeat: failing,
    });
    await doings.gate.reached;
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // one interval of heartbeats
    doings.gate.open();
    await delivery;
  });

  it('does not block its partition with what would be refused for ever', async () => {
    await sent('poison', withKey('k1')); // its last attempt
    await sent('poison', withKey('k1')); // parked
    expect(doings.times('poison')).toBe(1);
    const longAgo = '01890a5d-ac96-774b-bcce-b302099a8057';
    await sent('placed', withKey(longAgo)); // KEY_EXPIRED
    expect(doings.times('placed A-1')).toBe(0);
  });

  it.each([
    ['neither a correlation id nor a reply topic', {}],
    ['no reply topic', { kafka_correlationId: 'c1' }],
    ['no correlation id', { kafka_replyTopic: 'price.reply' }],
  ])('is not blocked by a request with %s, whom nobody would answer', async (_, headers) => {
    await sent('poison-price', { ...withKey('k1'), ...headers }); // its last attempt
    await sent('poison-price', { ...withKey('k1'), ...headers }); // parked
    expect(doings.times('poison price')).toBe(1);
    const first = sent('held-price', { ...withKey('k2'), ...headers });
    await doings.gate.reached;
    await expect(sent('held-price', { ...withKey('k2'), ...headers })).rejects.toBeInstanceOf(
      KafkaRetriableException,
    );
    doings.gate.open();
    await first;
    await sent('held-price', { ...withKey('k2'), ...headers });
    expect(doings.times('held price')).toBe(1);
  });

  it('rejects another payload with the same id, for somebody to see', async () => {
    await sent('placed', withKey('k1'));
    await expect(sent('placed', withKey('k1'), { order: 'B-2' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
  });

  describe('that want a reply', () => {
    const asking = { kafka_correlationId: 'c1', kafka_replyTopic: 'price.reply' };

    async function ask(topic: string, correlation: string) {
      await sent(topic, { ...withKey('k1'), ...asking, kafka_correlationId: correlation });
      const mine = () =>
        place.server.replies.find(
          ({ messages: [message] }) => String(message?.headers.kafka_correlationId) === correlation,
        );
      await eventually(() => mine() !== undefined, 'a reply came');
      const { messages, topic: to } = mine() ?? { messages: [], topic: '' };
      const [{ value: reply, headers } = { value: '', headers: {} }] = messages;
      return { to, reply: String(reply), error: headers['kafka_nest-err'] };
    }

    it('get it replayed', async () => {
      const reply = JSON.stringify({ order: 'A-1', run: 1 });
      await expect(ask('price', 'c1')).resolves.toMatchObject({ to: 'price.reply', reply });
      await expect(ask('price', 'c2')).resolves.toMatchObject({ to: 'price.reply', reply });
      expect(doings.times('price A-1')).toBe(1);
    });

    it('are told when they are in flight', async () => {
      const first = ask('held-price', 'c1');
      await doings.gate.reached;
      const { error } = await ask('held-price', 'c2');
      expect(JSON.parse(String(error))).toMatchObject({
        code: 'IDEMPOTENCY_IN_PROGRESS',
        retryAfter: 1,
      });
      doings.gate.open();
      await expect(first).resolves.toMatchObject({ reply: JSON.stringify({ run: 1 }) });
    });
  });
});
