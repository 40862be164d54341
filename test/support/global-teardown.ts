import { rm } from 'node:fs/promises';

export default async function globalTeardown(): Promise<void> {
  await globalThis.stopEmbeddedPostgres?.();
  await rm(process.env.TEST_PROGRAMS as string, { recursive: true });
}
