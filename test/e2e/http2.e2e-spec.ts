import { once } from 'node:events';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Controller, Module, Post, Res, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';

let runs = 0;

@Controller()
class OrdersController {
  @Post('orders')
  @Idempotent()
  place() {
    runs += 1;
    return { runs };
  }

  @Post('written')
  @Idempotent()
  written(@Res() reply: { code(status: number): { send(body: unknown): void } }) {
    runs += 1;
    reply.code(202).send({ runs });
  }
}

@Module({
  imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
  controllers: [OrdersController],
})
class Http2Module {}

describe('over HTTP/2', () => {
  let app: INestApplication;
  let session: ClientHttp2Session;
  const warnings: string[] = [];
  const listen = ({ message }: Error): void => void warnings.push(message);

  beforeAll(async () => {
    process.on('warning', listen);
    const adapter = new FastifyAdapter({ http2: true } as object);
    app = await NestFactory.create(Http2Module, adapter, { logger: false });
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    session = connect(`http://127.0.0.1:${port}`);
  });
  afterAll(async () => {
    session.close();
    await app.close();
    process.off('warning', listen);
  });

  async function post(path: string, key?: string): Promise<[IncomingHttpHeaders, string]> {
    const request = session.request({
      ':method': 'POST',
      ':path': path,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    });
    request.end();
    const [head] = (await once(request, 'response')) as [IncomingHttpHeaders];
    let text = '';
    for await (const chunk of request) {
      text += String(chunk);
    }
    return [head, text];
  }

  it.each(['/orders', '/written'])('%s replays, and Node has nothing to warn of', async (path) => {
    const [first, text] = await post(path, `key-of-${path}`);
    const [again, replayed] = await post(path, `key-of-${path}`);
    expect(replayed).toBe(text);
    expect(again[':status']).toBe(first[':status']);
    expect(again['content-type']).toBe(first['content-type']);
    expect(first['idempotent-replayed']).toBeUndefined();
    expect(again['idempotent-replayed']).toBe('true');
    expect(warnings).toEqual([]);
  });

  it('a request without a key is turned away', async () => {
    const [head, text] = await post('/orders');
    expect(head[':status']).toBe(400);
    expect(head['content-type']).toBe('application/problem+json');
    expect(JSON.parse(text)).toMatchObject({ code: 'IDEMPOTENCY_KEY_MISSING' });
  });
});
