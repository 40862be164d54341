/**
 * An application in a process of its own, for tests that kill it. Its records are in Redis. `POST /effects` adds an id
 * to a list there and answers with it, so that two runs never look alike.
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { Redis } from 'ioredis';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
} from '../../../src/index.js';
import { redisStore } from '../../../src/stores/redis/index.js';
import { given, serve } from '../shop-process.js';

const client = new Redis(given.redisPort!, '127.0.0.1');

@Controller('effects')
class EffectsController {
  @Post()
  @Idempotent()
  async add(
    @Body() { name }: { name: string },
    @CurrentIdempotency() { attempt }: IdempotencyContext,
  ) {
    const id = randomUUID();
    await client.rpush(`effects of ${name}`, id);
    return { id, attempt };
  }
}

@Module({
  imports: [IdempotencyModule.forRoot({ ...given.idempotency, store: redisStore({ client }) })],
  controllers: [EffectsController],
})
class ShopModule {}

await serve(ShopModule, ['error']);
