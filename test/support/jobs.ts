import { randomUUID } from 'node:crypto';
import { BullModule } from '@nestjs/bullmq';
import type { DynamicModule, Type } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { Queue, QueueEvents, type Job } from 'bullmq';
import {
  IdempotencyModule,
  memoryStore,
  type IdempotencyModuleExtras,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';

const redisUrl = process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379';

/** Whether there is a Redis to test with. */
export const hasRedis = redisUrl !== '';

/** Queues of one test, that nobody else sees, and the application that works on them. */
export class JobStage {
  readonly prefix = `idempotency-${randomUUID()}`;
  private readonly apps: TestingModule[] = [];
  private readonly clients: { queue: Queue; events: QueueEvents }[];

  constructor(readonly names: readonly string[] = ['payouts']) {
    const options = { connection: this.connection, prefix: this.prefix };
    this.clients = names.map((name) => ({
      queue: new Queue(name, options),
      events: new QueueEvents(name, options),
    }));
  }

  get connection(): { host: string; port: number } {
    const { hostname, port } = new URL(redisUrl);
    return { host: hostname, port: Number(port || 6379) };
  }

  async start(
    providers: Type[],
    options: (IdempotencyModuleOptions & IdempotencyModuleExtras) | 'no module' = {},
  ): Promise<TestingModule> {
    const imports: DynamicModule[] = [
      BullModule.forRoot({ connection: this.connection, prefix: this.prefix }),
      ...this.names.map((name) => BullModule.registerQueue({ name })),
    ];
    if (options !== 'no module') {
      imports.push(IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false, ...options }));
    }
    const app = await Test.createTestingModule({ imports, providers }).compile();
    this.apps.push(app);
    await Promise.all(this.clients.map(({ events }) => events.waitUntilReady()));
    return app.init();
  }

  queue(name = this.names[0]!): Queue {
    return this.client(name).queue;
  }

  /** What the job comes to; rejects with the reason why it failed. */
  result(job: Job): Promise<unknown> {
    return job.waitUntilFinished(this.client(job.queueName).events, 20_000);
  }

  async close(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.close()));
    for (const { queue, events } of this.clients) {
      await queue.obliterate({ force: true });
      await Promise.all([queue.close(), events.close()]);
    }
  }

  private client(name: string): { queue: Queue; events: QueueEvents } {
    return this.clients[this.names.indexOf(name)]!;
  }
}
