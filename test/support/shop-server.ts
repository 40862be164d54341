/**
 * An application in a process of its own, for tests that kill, stop and resume it. `POST /effects` adds a
 * row to the table `effect` and answers with a random id of its own, so that two runs never look alike.
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
} from '../../src/index.js';
import { given, serve } from './shop-process.js';

interface Effect {
  readonly name: string;
  readonly holdMs?: number;
}

@Controller('effects')
class EffectsController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent()
  add(@Body() effect: Effect, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(effect, once);
  }

  @Post('transactional')
  @Idempotent({ mode: 'transactional' })
  addInTransaction(@Body() effect: Effect, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(effect, once);
  }

  private async perform({ name, holdMs = 0 }: Effect, once: IdempotencyContext) {
    const id = randomUUID();
    await this.dataSource
      .createQueryBuilder()
      .insert()
      .into('effect')
      .values({ id, name, fence: String(once.fence) })
      .execute();
    process.send?.('effect');
    await new Promise((resolve) => setTimeout(resolve, holdMs));
    return { id, attempt: once.attempt, lost: once.signal.aborted };
  }
}

@Module({
  imports: [TypeOrmModule.forRoot(given.dataSource), IdempotencyModule.forRoot(given.idempotency)],
  controllers: [EffectsController],
})
class ShopModule {}

await serve(ShopModule, ['error']);
