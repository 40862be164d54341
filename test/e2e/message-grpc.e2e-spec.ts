import 'reflect-metadata';
import { join } from 'node:path';
import { credentials, loadPackageDefinition, Metadata, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { GrpcMethod, RpcException, Transport } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { EMPTY, from, type Observable } from 'rxjs';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/http.js';
import { Doings } from '../support/messages/message-shop.js';

const PROTO = join(process.cwd(), 'test/support/messages/shop.proto');
const DEADLINE_MS = 5_000;

interface Order {
  readonly sku: string;
}

interface Placed extends Order {
  readonly run: number;
}

type Unary = (
  order: Order,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, placed: Placed) => void,
) => void;

interface OrdersClient {
  readonly Place: Unary;
  readonly Refuse: Unary;
  readonly Held: Unary;
  readonly Nothing: Unary;
  readonly Several: Unary;
  Watch(order: Order, metadata: Metadata): NodeJS.ReadableStream;
  close(): void;
}

function ordersController(doings: Doings): new () => object {
  @Controller()
  class Orders {
    @GrpcMethod('Orders', 'Place')
    @Idempotent()
    place({ sku }: Order): Placed {
      return { sku, run: doings.did('place') };
    }

    @GrpcMethod('Orders', 'Refuse')
    @Idempotent({ errors: 'store-all' })
    refuse(): never {
      throw new RpcException({ code: 5, message: `no such tea ${doings.did('refuse')}` });
    }

    @GrpcMethod('Orders', 'Held')
    @Idempotent({ onConcurrent: 'reject' })
    async held({ sku }: Order): Promise<Placed> {
      const run = doings.did('held');
      await doings.gate.pass();
      return { sku, run };
    }

    @GrpcMethod('Orders', 'Nothing')
    @Idempotent()
    nothing(): Observable<never> {
      doings.did('nothing');
      return EMPTY;
    }

    @GrpcMethod('Orders', 'Several')
    @Idempotent()
    several({ sku }: Order): Observable<Placed> {
      doings.did('several');
      return from([1, 2, 3].map((run) => ({ sku, run })));
    }

    @GrpcMethod('Orders', 'Watch')
    @Idempotent()
    watch({ sku }: Order): Observable<Placed> {
      doings.did('watch');
      return from([1, 2].map((run) => ({ sku, run })));
    }
  }
  return Orders;
}

describe('Calls of gRPC', () => {
  let app: INestMicroservice;
  let client: OrdersClient;
  let doings: Doings;

  beforeEach(async () => {
    doings = new Doings();
    const url = `127.0.0.1:${await freePort()}`;
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [ordersController(doings)],
    }).compile();
    app = module.createNestMicroservice({
      transport: Transport.GRPC,
      options: { package: 'shop', protoPath: PROTO, url },
      logger: false,
    });
    await app.listen();
    const { shop } = loadPackageDefinition(loadSync(PROTO)) as unknown as {
      shop: { Orders: new (url: string, insecure: unknown) => OrdersClient };
    };
    client = new shop.Orders(url, credentials.createInsecure());
  });
  afterEach(async () => {
    doings.gate.open();
    client.close();
    await app.close();
  });

  function metadataOf(key: string | undefined): Metadata {
    const metadata = new Metadata();
    if (key !== undefined) {
      metadata.set('idempotency-key', key);
    }
    return metadata;
  }

  function call(method: Exclude<keyof OrdersClient, 'Watch' | 'close'>, key?: string, sku = 'tea') {
    return new Promise<Placed>((resolve, reject) => {
      const deadline = { deadline: Date.now() + DEADLINE_MS };
      client[method]({ sku }, metadataOf(key), deadline, (error, placed) =>
        error === null ? resolve(placed) : reject(error),
      );
    });
  }

  it('replays the answer', async () => {
    await expect(call('Place', 'k1')).resolves.toEqual({ sku: 'tea', run: 1 });
    await expect(call('Place', 'k1')).resolves.toEqual({ sku: 'tea', run: 1 });
    await expect(call('Place', 'k2')).resolves.toEqual({ sku: 'tea', run: 2 });
  });

  it('replays a stored error with its status', async () => {
    const [first, second] = [
      await call('Refuse', 'k1').catch((error: ServiceError) => error),
      await call('Refuse', 'k1').catch((error: ServiceError) => error),
    ];
    expect(first).toMatchObject({ code: 5, details: 'no such tea 1' });
    expect(second).toMatchObject({ code: 5, details: 'no such tea 1' });
  });

  it('says UNAVAILABLE, which clients retry, while it is in flight', async () => {
    const first = call('Held', 'k1');
    await eventually(() => doings.times('held') === 1, 'the first one runs');
    await expect(call('Held', 'k1')).rejects.toMatchObject({
      code: 14,
      details: expect.stringContaining('IDEMPOTENCY_IN_PROGRESS'),
    });
    doings.gate.open();
    await expect(first).resolves.toMatchObject({ run: 1 });
    await expect(call('Held', 'k1')).resolves.toMatchObject({ run: 1 });
  });

  it('says INVALID_ARGUMENT without an id', async () => {
    await expect(call('Place')).rejects.toMatchObject({
      code: 3,
      details: expect.stringContaining('IDEMPOTENCY_KEY_MISSING'),
    });
    expect(doings.runs).toEqual([]);
  });

  it('says FAILED_PRECONDITION for another message with the same id', async () => {
    await call('Place', 'k1');
    await expect(call('Place', 'k1', 'coffee')).rejects.toMatchObject({
      code: 9,
      details: expect.stringContaining('IDEMPOTENCY_KEY_REUSED'),
    });
  });

  it('does not leave a client hanging whose handler answers nothing', async () => {
    const answers = [1, 2].map(() =>
      call('Nothing', 'k1').catch(({ code }: ServiceError) => ({ code })),
    );
    const ended = await Promise.all(answers);
    expect(ended).not.toContainEqual({ code: 4 }); // DEADLINE_EXCEEDED
    expect(doings.times('nothing')).toBe(1);
  });

  it('answers the last of several values, the first time too', async () => {
    await expect(call('Several', 'k1')).resolves.toMatchObject({ run: 3 });
    await expect(call('Several', 'k1')).resolves.toMatchObject({ run: 3 });
    expect(doings.times('several')).toBe(1);
  });

  it('refuses an answer that is a stream', async () => {
    const stream = client.Watch({ sku: 'tea' }, metadataOf('k1'));
    stream.on('data', () => undefined);
    const error = await new Promise<ServiceError>((resolve) => stream.once('error', resolve));
    expect(error).toMatchObject({
      code: 13,
      details: expect.stringContaining('its answer is a stream of many messages'),
    });
    expect(doings.runs).toEqual([]);
  });
});
