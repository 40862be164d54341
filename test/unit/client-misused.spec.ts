/** What is given by mistake is named, with what to give instead. */
import { HttpService } from '@nestjs/axios';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { idempotentAxios, type AxiosLike } from 'nestjs-idempotency/client';
import { withMessageIds, type MessageClient } from 'nestjs-idempotency/client/messages';
import { loseLeases } from 'nestjs-idempotency/testing';

@Module({})
class WithoutIdempotency {}

it.each([undefined, {}, new HttpService()])('idempotentAxios(%p)', (given) => {
  expect(() => idempotentAxios(given as unknown as AxiosLike)).toThrow(
    'idempotentAxios() takes an axios instance. Call it once.',
  );
});

it.each([undefined, {}])('withMessageIds(%p)', (given) => {
  expect(() => withMessageIds(given as unknown as MessageClient)).toThrow(
    /^withMessageIds\(\): the client is .*\. Give a ClientProxy of @nestjs\/microservices\.$/,
  );
});

it('loseLeases() of an application without the module', async () => {
  const app = await NestFactory.createApplicationContext(WithoutIdempotency, { logger: false });
  await expect(loseLeases(app)).rejects.toThrow(
    'There is no IdempotencyModule in this application. Give the one that the handler runs in.',
  );
  await app.close();
});
