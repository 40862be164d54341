/**
 * A payment provider in a process of its own, which nothing in a run kills: it charges once for each
 * idempotency key that it is given, and writes down every attempt.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ChargeRequest {
  /** Charged once for each; without one, every time. */
  readonly idempotencyKey?: string;
  readonly intent: string;
  readonly nonce: string;
  readonly amount: number;
  readonly variant: string;
  readonly fence: string;
  readonly attempt: number;
}

export interface ChargeAttempt extends ChargeRequest {
  /** The charge that it made, or that was made by an earlier attempt with this key. */
  readonly charge: string;
  readonly charged: boolean;
}

const attempts: ChargeAttempt[] = [];
const charges = new Map<string, string>();

const server = createServer((request, response) => {
  const answer = (body: unknown): void => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  };
  if (request.method === 'GET') {
    answer(attempts);
    return;
  }
  void bodyOf(request).then((given) => {
    const { idempotencyKey = randomUUID() } = given;
    const earlier = charges.get(idempotencyKey);
    const charge = earlier ?? randomUUID();
    charges.set(idempotencyKey, charge);
    attempts.push({ ...given, charge, charged: earlier === undefined });
    answer({ charge });
  });
});

async function bodyOf(request: IncomingMessage): Promise<ChargeRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as ChargeRequest;
}

process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
