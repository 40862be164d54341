import { randomBytes } from 'node:crypto';

export const rabbitUrl = process.env['TEST_RABBITMQ_URL'] || 'amqp://guest:guest@127.0.0.1:5672';
export const redisUrl = process.env['TEST_REDIS_URL'] || 'redis://127.0.0.1:6379';

export function newName(): string {
  return `idempotency-${randomBytes(6).toString('hex')}`;
}

export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 8_000,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) {
      throw new Error(`Waited ${timeoutMs} ms in vain: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What handlers did, in their order. */
export class Doings {
  readonly runs: string[] = [];

  did(what: string): number {
    this.runs.push(what);
    return this.times(what);
  }

  times(what: string): number {
    return this.runs.filter((run) => run === what).length;
  }
}

/** Holds whoever passes until it is opened. */
export class Gate {
  open!: () => void;
  private readonly opened = new Promise<void>((resolve) => (this.open = resolve));

  pass(): Promise<void> {
    return this.opened;
  }
}
