/** What the library that is measured has. What it has not is left out, and the tables say so. */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { decorate } from '../app/decorate.mjs';

export async function hasRedisStore() {
  try {
    await import('nestjs-idempotency/redis');
    return true;
  } catch (error) {
    if (['ERR_PACKAGE_PATH_NOT_EXPORTED', 'ERR_MODULE_NOT_FOUND'].includes(error.code)) {
      return false;
    }
    throw error;
  }
}

export async function hasReplayCache() {
  class Probe {}
  const options = { store: memoryStore(), cleanup: false, replayCache: true };
  decorate(Probe, [Module({ imports: [IdempotencyModule.forRoot(options)] })]);
  try {
    const app = await NestFactory.createApplicationContext(Probe, {
      logger: false,
      abortOnError: false,
    });
    await app.close();
    return true;
  } catch (error) {
    if (error.code === 'IDEMPOTENCY_MISCONFIGURED') {
      return false;
    }
    throw error;
  }
}
