import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, Inject, Post, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { CurrentIdempotency, Idempotent, type IdempotencyContext } from '../../../src/index.js';
import { LedgerEntry, Stock } from './entities.js';
import { intentName, type Intent } from './options.js';
import { charge } from './provider-client.js';

export const PROVIDER_PORT = Symbol('PROVIDER_PORT');

/** One route for each way to have an effect. Every answer names the run that it comes from. */
@Controller()
export class ChaosController {
  constructor(
    private readonly dataSource: DataSource,
    @InjectRepository(Stock) private readonly stock: Repository<Stock>,
    @InjectRepository(LedgerEntry) private readonly ledger: Repository<LedgerEntry>,
    @Inject(PROVIDER_PORT) private readonly providerPort: number,
  ) {}

  /** The effect is at another system, which knows repeated calls by their derived key. */
  @Post('lease')
  @Idempotent()
  async lease(@Body() intent: Intent, @CurrentIdempotency() once: IdempotencyContext) {
    const nonce = randomUUID();
    await sleep(intent.holdMs / 2);
    const charged = await charge(this.providerPort, {
      idempotencyKey: once.derive('charge'),
      ...run(intent, once, nonce),
    });
    await sleep(intent.holdMs / 2);
    failIfAsked(intent, once);
    return { nonce, charge: charged };
  }

  /** The effect is in the database, and commits together with its record. */
  @Post('tx')
  @Idempotent({ mode: 'transactional' })
  async tx(@Body() intent: Intent, @CurrentIdempotency() once: IdempotencyContext) {
    const nonce = randomUUID();
    await sleep(intent.holdMs / 2);
    if (intent.nests === true) {
      await this.dataSource.transaction(() => this.sell(intent, once, nonce));
    } else {
      await this.sell(intent, once, nonce);
    }
    await sleep(intent.holdMs / 2);
    return { nonce };
  }

  /** One effect at another system and one in the database, each with a result that outlasts the run. */
  @Post('steps')
  @Idempotent()
  async steps(@Body() intent: Intent, @CurrentIdempotency() once: IdempotencyContext) {
    const fresh = randomUUID();
    await sleep(intent.holdMs / 2);
    const charged = await once.step('charge', () =>
      charge(this.providerPort, {
        idempotencyKey: once.derive('charge'),
        ...run(intent, once, fresh),
      }),
    );
    const nonce = await once.transaction('book', async () => {
      await this.sell(intent, once, fresh);
      return fresh;
    });
    await sleep(intent.holdMs / 2);
    failIfAsked(intent, once);
    return { nonce, charge: charged };
  }

  /** The effect is at another system, which does not know repeated calls: better none than a second one. */
  @Post('block')
  @Idempotent({ onUnknownOutcome: 'block' })
  async block(@Body() intent: Intent, @CurrentIdempotency() once: IdempotencyContext) {
    const nonce = randomUUID();
    await sleep(intent.holdMs / 2);
    await once.effectStarted();
    const charged = await charge(this.providerPort, run(intent, once, nonce));
    await sleep(intent.holdMs / 2);
    return { nonce, charge: charged };
  }

  /**
   * What must not be done: an effect in a transaction of its own, which neither knows nor asks whether the
   * attempt still owns its claim.
   */
  @Post('unfenced')
  @Idempotent()
  async unfenced(@Body() intent: Intent, @CurrentIdempotency() once: IdempotencyContext) {
    const nonce = randomUUID();
    await sleep(intent.holdMs / 2);
    await this.dataSource.transaction(async (manager) => {
      await manager.decrement(Stock, { sku: intent.sku }, 'quantity', intent.amount);
      await manager.insert(LedgerEntry, { ...run(intent, once, nonce), sku: intent.sku });
    });
    await sleep(intent.holdMs / 2);
    return { nonce };
  }

  /** Through what was injected: nobody hands the transaction around. */
  private async sell(intent: Intent, once: IdempotencyContext, nonce: string): Promise<void> {
    await this.stock.decrement({ sku: intent.sku }, 'quantity', intent.amount);
    await this.ledger.insert({ ...run(intent, once, nonce), sku: intent.sku });
  }
}

function failIfAsked({ failsFirst }: Intent, { attempt }: IdempotencyContext): void {
  if (failsFirst === true && attempt === 1) {
    throw new ServiceUnavailableException('The first run was asked to fail.');
  }
}

function run({ amount, variant }: Intent, once: IdempotencyContext, nonce: string) {
  const { attempt } = once;
  const intent = intentName(once.scope, once.key);
  return { intent, nonce, amount, variant, fence: String(once.fence), attempt };
}
