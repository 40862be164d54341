import { Body, Controller, Get, HttpException, Post } from '@nestjs/common';
import { CurrentIdempotency, IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import type { IdempotencyContext } from 'nestjs-idempotency';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TestGate } from './gate.js';
import { startApp, type Platform, type TestApp } from './http.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';

/** What a gateway answers by itself; the application does not hear of the request. */
export interface GatewayAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Takes orders, behind a gateway and a line that may break. */
export interface KeyShop {
  readonly url: string;
  readonly line: TcpProxy;
  /** Header values and times of the requests that came. */
  readonly came: readonly { method: string; key: string | undefined; at: number }[];
  /** How often an order was placed. */
  readonly orders: () => number;
  /** Orders stop in the handler until the gate is opened. */
  hold(): TestGate;
  /** What the next requests are answered by the gateway, one after the other. */
  gateway(...answers: GatewayAnswer[]): void;
  close(): Promise<void>;
}

export async function openKeyShop(platform: Platform): Promise<KeyShop> {
  let orders = 0;
  let gate: TestGate | undefined;

  @Controller('orders')
  class Orders {
    @Get()
    list(): object {
      return { orders };
    }

    @Post()
    @Idempotent({ errors: (_, { status }) => (status === 402 ? 'store' : 'release') })
    async place(@Body() { sku }: { sku?: string }): Promise<object> {
      await gate?.pass();
      if (sku === 'declined') throw new HttpException('declined', 402);
      orders += 1;
      return { order: orders, sku };
    }

    @Post('uncertain')
    @Idempotent({ onUnknownOutcome: 'block' })
    async charge(@CurrentIdempotency() once: IdempotencyContext): Promise<void> {
      await once.effectStarted();
      orders += 1;
      throw new HttpException('cut', 502);
    }

    @Post('echo')
    @Idempotent()
    echo(@Body() body: unknown): unknown {
      return body;
    }
  }

  const came: { method: string; key: string | undefined; at: number }[] = [];
  const answers: GatewayAnswer[] = [];
  const app: TestApp = await startApp(
    platform,
    {
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false })],
      controllers: [Orders],
    },
    {
      configure: (nest) => {
        nest.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
          const key = request.headers['idempotency-key'] as string | undefined;
          came.push({ method: String(request.method), key, at: performance.now() });
          const answer = answers.shift();
          if (answer === undefined) return next();
          request.resume().on('end', () => {
            response.writeHead(answer.status, answer.headers).end(answer.body);
          });
        });
      },
    },
  );
  const line = await startTcpProxy({ host: '127.0.0.1', port: app.port });
  return {
    url: `http://127.0.0.1:${line.port}/orders`,
    line,
    came,
    orders: () => orders,
    hold: () => (gate = new TestGate()),
    gateway: (...more) => void answers.push(...more),
    async close() {
      gate?.open();
      await line.close();
      await app.close();
    },
  };
}
