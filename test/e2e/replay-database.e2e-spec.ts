import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Param, Post, Redirect, StreamableFile } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, Idempotent } from 'nestjs-idempotency';
import { idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import { platforms, send, startApp, type Platform, type TestApp } from '../support/http.js';
import { expectReplay, freshKey } from '../support/replay.js';

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
let runs = 0;

@Controller('kept')
class KeptController {
  @Post('text')
  @Idempotent()
  text(): object {
    runs += 1;
    return { runs, text: 'grüße \u0000 💶 \ud800', order: { b: 1, a: 2 } };
  }

  @Post('bytes/:times')
  @Idempotent()
  bytes(@Param('times') times: string): StreamableFile {
    runs += 1;
    const body = Buffer.concat(Array<Buffer>(Number(times)).fill(EVERY_BYTE));
    return new StreamableFile(body, { type: 'application/x-bytes' });
  }

  @Post('redirect')
  @Redirect('/elsewhere', 303)
  @Idempotent()
  redirect(): void {
    runs += 1;
  }

  @Post('empty')
  @Idempotent()
  empty(): void {
    runs += 1;
  }
}

function start(platform: Platform, database: string): Promise<TestApp> {
  return startApp(platform, {
    imports: [
      TypeOrmModule.forRoot({
        type: 'better-sqlite3',
        database,
        migrations: [...idempotencyMigrations()],
        migrationsRun: true,
      }),
      IdempotencyModule.forRoot(),
    ],
    controllers: [KeptController],
  });
}

describe.each(platforms)('with its record in a database, a replay on %s', (platform) => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'idempotency-replay-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('is the first answer, also after a restart', async () => {
    const database = join(directory, 'records.sqlite');
    const paths = ['text', 'bytes/1', 'bytes/4000', 'redirect', 'empty'];
    const requests = paths.map((path) => ({ path: `/kept/${path}`, key: freshKey() }));
    runs = 0;

    const before = await start(platform, database);
    const first = [];
    for (const request of requests) {
      first.push(await send(before, request));
      expectReplay(first.at(-1)!, await send(before, request));
    }
    await before.close();
    expect(first[2]?.body.length).toBe(4000 * EVERY_BYTE.length);

    const after = await start(platform, database);
    for (const [index, request] of requests.entries()) {
      expectReplay(first[index]!, await send(after, request));
    }
    await after.close();
    expect(runs).toBe(paths.length);
  });
});
