/** An application in a process of its own, whose callers may have a few keys only. Who calls is in `x-user`. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { Idempotent, IdempotencyModule } from '../../src/index.js';
import { given, serve } from './shop-process.js';

@Controller('effects')
class EffectsController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent()
  async add(@Body() { name }: { name: string }) {
    const id = randomUUID();
    const insert = this.dataSource.createQueryBuilder().insert().into('effect');
    await insert.values({ id, name, fence: '' }).execute();
    return { id };
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot(given.dataSource),
    IdempotencyModule.forRoot({
      ...given.idempotency,
      scope: ({ headers }) => String(headers['x-user']),
    }),
  ],
  controllers: [EffectsController],
})
class LimitedModule {}

await serve(LimitedModule, ['error']);
