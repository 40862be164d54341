import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { intentName, type Intent } from './app/options.js';
import { UNRECORDED_HEADER } from './app/unrecorded.js';
import type { Place } from './fleet.js';
import type { Call, History } from './history.js';
import type { Random } from './random.js';

const PATIENCE_MS = 900;
const RETRIES = 40;
const SLOWEST_RETRY_MS = 250;
export const SKUS = Array.from({ length: 40 }, (_, number) => `sku-${number}`);

const FINAL_CODES = new Set(['IDEMPOTENCY_RESULT_UNAVAILABLE', 'IDEMPOTENCY_OUTCOME_UNCERTAIN']);

type Sent = Omit<Call, 'intent' | 'variant' | 'place' | 'began' | 'ended'>;

interface Wanted {
  readonly tenant: string;
  readonly key: string;
  readonly body: Intent;
}

/** Clients that send everything again, often at the same time, until they are answered. */
export class Clients {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 });
  private isOver = false;
  private tellIsOver: () => void = () => undefined;
  private readonly over = new Promise<void>((resolve) => (this.tellIsOver = resolve));
  /** When everything must have been answered; set when the faults are over. */
  private deadline = Infinity;
  private readonly loops: Promise<void>[];
  private readonly opened: Wanted[] = [];

  constructor(
    private readonly path: string,
    private readonly places: readonly Place[],
    private readonly history: History,
    private readonly random: Random,
    count: number,
  ) {
    this.loops = Array.from({ length: count }, (_, number) =>
      this.loop(random.fork(`client ${number}`)),
    );
  }

  /** Begins nothing new, and gives what is open so long to be answered. */
  async finish(graceMs: number): Promise<void> {
    this.end();
    this.deadline = performance.now() + graceMs;
    await Promise.all(this.loops);
  }

  /** Asks for every intent once more, now that nothing disturbs: its outcome must still be there. */
  async audit(): Promise<void> {
    const left = [...this.opened];
    const auditor = async (random: Random): Promise<void> => {
      for (let wanted = left.pop(); wanted !== undefined; wanted = left.pop()) {
        await this.untilAnswered(wanted, random);
      }
    };
    await Promise.all(this.loops.map((_, number) => auditor(this.random.fork(`audit ${number}`))));
  }

  close(): void {
    this.end();
    this.deadline = 0;
    this.agent.destroy();
  }

  private end(): void {
    this.isOver = true;
    this.tellIsOver();
  }

  private async loop(random: Random): Promise<void> {
    while (!this.isOver) {
      await this.pursue(random);
    }
  }

  /** One intent with everything that a client may do around it. */
  private async pursue(random: Random): Promise<void> {
    const body: Intent = {
      sku: random.pick(SKUS),
      amount: random.between(1, 5),
      holdMs: random.chance(0.85) ? random.between(0, 30) : random.between(250, 500),
      nests: random.chance(0.3),
      variant: 'A',
    };
    const wanted: Wanted = { tenant: 'one', key: random.uuid(), body };
    const rival: Wanted = { ...wanted, body: { ...body, variant: 'B' } };
    const neighbour: Wanted = { ...wanted, tenant: 'two' };
    const isReused = random.chance(0.05);
    const isShared = random.chance(0.05);
    const isEarly = random.chance(0.5);
    this.open(wanted, isReused ? ['A', 'B'] : ['A']);
    const copies = [this.untilAnswered(wanted, random)];
    if (random.chance(0.4)) {
      copies.push(this.later(random, () => this.untilAnswered(wanted, random)));
    }
    if (isShared) {
      this.open(neighbour, ['A']);
      copies.push(this.untilAnswered(neighbour, random));
    }
    if (isReused && isEarly) {
      copies.push(this.later(random, () => this.untilAnswered(rival, random)));
    }
    await Promise.all(copies);
    if (isReused && !isEarly) {
      await this.untilAnswered(rival, random);
    }
    if (random.chance(0.3)) {
      await this.send(wanted, random);
    }
  }

  private open(wanted: Wanted, variants: readonly string[]): void {
    const { tenant, key } = wanted;
    this.opened.push(
      ...variants.map((variant) => ({ ...wanted, body: { ...wanted.body, variant } })),
    );
    this.history.intents.push({ intent: intentName(tenant, key), variants });
  }

  private async later(random: Random, work: () => Promise<void>): Promise<void> {
    await sleep(random.between(0, 60));
    await work();
  }

  /** Sends it until there is an outcome. A client gives up after a while, but not before the end of the run. */
  private async untilAnswered(wanted: Wanted, random: Random): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const { certainty } = await this.send(wanted, random);
      if (certainty !== 'info') {
        return;
      }
      if (performance.now() > this.deadline) {
        this.history.stuck.push(intentName(wanted.tenant, wanted.key));
        return;
      }
      const patience = Math.min(20 * 2 ** tries, SLOWEST_RETRY_MS);
      await sleep(random.between(patience / 2, patience));
      if (tries === RETRIES) {
        await this.over; // until there are no faults any more
      }
    }
  }

  private async send(wanted: Wanted, random: Random): Promise<Call> {
    const place = random.pick(this.places);
    const began = performance.now();
    const sent = await this.exchange(wanted, place.port);
    const call: Call = {
      intent: intentName(wanted.tenant, wanted.key),
      variant: wanted.body.variant,
      place: place.number,
      began,
      ended: performance.now(),
      ...sent,
    };
    this.history.calls.push(call);
    return call;
  }

  private exchange({ tenant, key, body }: Wanted, port: number): Promise<Sent> {
    const { agent, path } = this;
    const headers = {
      'content-type': 'application/json',
      'idempotency-key': key,
      'x-tenant': tenant,
    };
    return new Promise((resolve) => {
      const lost = (error: Error): void => resolve({ certainty: 'info', status: error.message });
      const going = request(
        { method: 'POST', host: '127.0.0.1', port, path, headers, agent },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', lost);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            resolve(judged(response.statusCode as number, text, response.headers));
          });
        },
      );
      going.setTimeout(PATIENCE_MS);
      going.on('error', lost);
      const late = setTimeout(() => going.destroy(new Error('timeout')), PATIENCE_MS);
      going.on('close', () => clearTimeout(late));
      going.end(JSON.stringify(body));
    });
  }
}

/** Only an answer that will never change is an outcome. */
function judged(status: number, body: string, headers: NodeJS.Dict<string | string[]>): Sent {
  if (status >= 200 && status < 300) {
    return {
      certainty: 'ok',
      status,
      body,
      replayed: headers['idempotent-replayed'] === 'true',
      unrecorded: headers[UNRECORDED_HEADER] === 'true',
    };
  }
  const code = codeOf(body);
  const isFinal = status === 422 || (code !== undefined && FINAL_CODES.has(code));
  return { certainty: isFinal ? 'fail' : 'info', status, ...(code !== undefined && { code }) };
}

function codeOf(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { code?: string }).code;
  } catch {
    return undefined;
  }
}
