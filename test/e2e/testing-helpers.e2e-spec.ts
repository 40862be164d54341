import 'reflect-metadata';
import { AssertionError } from 'node:assert';
import { Body, ConflictException, Controller, Logger, Post } from '@nestjs/common';
import { Idempotent, IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';
import { duplicateStorm, expectEffectOnce } from 'nestjs-idempotency/testing';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { send, startApp, type TestApp } from '../support/http.js';
import { EntryEntity } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(['sqlite-file', 'postgres'] as const)('helpers for tests over %s', (dialect) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let app: TestApp;
  let key = '';
  let keys = 0;

  const insert = async (name: string) => {
    await dataSource.getRepository(EntryEntity).insert({ name });
    return { name };
  };

  @Controller()
  class Entries {
    @Post('leased')
    @Idempotent()
    leased(@Body() { name }: { name: string }) {
      return insert(name);
    }

    @Post('transactional')
    @Idempotent({ mode: 'transactional' })
    transactional(@Body() { name }: { name: string }) {
      return insert(name);
    }

    @Post('unprotected')
    unprotected() {
      return insert(`unprotected-${(keys += 1)}`);
    }

    @Post('failing')
    @Idempotent({ errors: () => 'store' })
    failing() {
      throw new ConflictException('sold out');
    }
  }

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    dataSource = await database.open({ synchronize: true, entities: [EntryEntity] });
    const store = typeOrmStore({ dataSource });
    app = await startApp('express', {
      imports: [IdempotencyModule.forRoot({ store })],
      controllers: [Entries],
    });
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
  });
  beforeEach(() => {
    key = `key-${(keys += 1)}`;
  });

  const post = (path: string) => send(app, { path: `/${path}`, key, body: { name: key } });
  const fetched = (path: string) =>
    fetch(`http://127.0.0.1:${app.port}/${path}`, {
      method: 'POST',
      headers: { 'idempotency-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ name: key }),
    });
  const rows = () => dataSource.getRepository(EntryEntity).count();
  it.each(['leased', 'transactional'])('a storm on a %s route has one effect', async (path) => {
    const storm = await expectEffectOnce(rows, () => duplicateStorm(20, () => fetched(path)));
    expect(storm.executed).toHaveLength(1);
    expect(storm.replayed.length + storm.refused.length).toBe(19);
    expect(storm.answers).toHaveLength(1 + storm.replayed.length);
    expect(storm.failed).toEqual([]);
    const again = await duplicateStorm(5, () => fetched(path));
    expect([again.executed.length, again.replayed.length]).toEqual([0, 5]);
    const others = new Set([...storm.answers, ...again.answers].map((it) => it.text()));
    expect(new Set(await Promise.all(others))).toEqual(new Set([JSON.stringify(await first())]));
    async function first(): Promise<unknown> {
      return (await post(path)).json();
    }
  });

  it('a storm on an unprotected route is seen through', async () => {
    await expect(
      expectEffectOnce(rows, () => duplicateStorm(3, () => fetched('unprotected'))),
    ).rejects.toThrow('Expected exactly one effect, and there were 3.');
  });

  it('tells the errors of the application from refusals', async () => {
    const ran = await duplicateStorm(2, () => fetched('failing'));
    const later = await duplicateStorm(2, () => fetched('failing'));
    expect(ran.executed.map(({ status }) => status)).toEqual([409]);
    expect(later.replayed.map(({ status }) => status)).toEqual([409, 409]);
  });

  it('a storm of calls tells results from refusals', async () => {
    const service = app.app.get(IdempotencyService);
    const storm = await expectEffectOnce(rows, () =>
      duplicateStorm(10, () => service.execute({ key }, () => insert(key))),
    );
    expect(new Set(storm.answers.map(({ name }) => name))).toEqual(new Set([key]));
    expect(storm.answers.length + storm.refused.length).toBe(10);
    const failing = await duplicateStorm(2, async () => Promise.reject(new Error('mine')));
    expect(failing.failed).toHaveLength(2);
  });
});

describe('what cannot be counted', () => {
  it('is said', async () => {
    const nothing = () => undefined;
    await expect(expectEffectOnce(() => 0, nothing)).rejects.toThrow(AssertionError);
    const count = () => '1' as unknown as number;
    await expect(expectEffectOnce(count, nothing)).rejects.toThrow('Answer it as a number');
    await expect(duplicateStorm(1, nothing)).rejects.toThrow(RangeError);
    await expect(duplicateStorm(2.5, nothing)).rejects.toThrow(RangeError);
  });

  it.each([
    ['a plain object', { statusCode: 409, headers: { 'retry-after': '1' } }],
    ['Headers', { status: 409, headers: new Headers({ 'retry-after': '1' }) }],
    ['a problem', { status: 422, headers: { 'content-type': 'application/problem+json' } }],
  ])('a refusal is known with %s, answered or thrown as axios does', async (_, response) => {
    expect((await duplicateStorm(2, () => response)).refused).toHaveLength(2);
    const thrown = async () => Promise.reject(Object.assign(new Error('axios'), { response }));
    expect((await duplicateStorm(2, thrown)).refused).toHaveLength(2);
  });
});
