/** What the compiler accepts and refuses of the public API. `npm run typecheck` is the test. */
import { Body, Controller, Inject, Injectable, Post } from '@nestjs/common';
import {
  CurrentIdempotency,
  IdempotencyModule,
  IdempotencyService,
  Idempotent,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
  type IdempotencyOptionsFactory,
  type IdempotencyStore,
  type UnknownOutcomeResolver,
  type Verdict,
} from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';

// Registration.
IdempotencyModule.forRoot();
IdempotencyModule.forRoot({ ttl: '24h', lease: 30_000, store: memoryStore(), isGlobal: false });
IdempotencyModule.forRoot({ store: typeOrmStore({ dataSource: 'billing', table: 'idempotency' }) });
// @ts-expect-error a duration is a number of milliseconds or a string such as '30s'
IdempotencyModule.forRoot({ ttl: 'soon' });
// @ts-expect-error there is no such option
IdempotencyModule.forRoot({ timeToLive: '24h' });
// @ts-expect-error one of two words
IdempotencyModule.forRoot({ onConcurrent: 'queue' });
// @ts-expect-error cleanup is configured or false
IdempotencyModule.forRoot({ cleanup: true });

class Options implements IdempotencyOptionsFactory {
  createIdempotencyOptions(): IdempotencyModuleOptions {
    return { namespace: 'orders' };
  }
}
IdempotencyModule.forRootAsync({ useClass: Options });
IdempotencyModule.forRootAsync({ useExisting: Options, store: memoryStore() });
IdempotencyModule.forRootAsync({ inject: [Options], useFactory: async () => ({ ttl: '1h' }) });
// @ts-expect-error the store is part of the module graph: it stands beside the factory
({ store: memoryStore() }) satisfies IdempotencyModuleOptions;

// Routes.
@Controller('orders')
@Idempotent()
export class OrdersController {
  @Post()
  @Idempotent({ lease: '10s', fingerprint: ['body', 'header:x-tenant'] })
  place(@Body() order: { sku: string }, @CurrentIdempotency() once: IdempotencyContext): string {
    // @ts-expect-error the attempt is read-only
    once.attempt = 2;
    const fence: bigint = once.fence;
    const charged: Promise<{ id: string }> = once.step('charge', async () => ({ id: 'ch_1' }));
    const started: Promise<void> = once.effectStarted();
    // @ts-expect-error a step needs a name
    void once.step(() => 1);
    void Promise.all([charged, started]);
    return `${order.sku} ${once.derive('charge')} ${fence} ${once.signal.aborted}`;
  }

  // @ts-expect-error a part of the request is method, path, query, body or header:<name>
  @Idempotent({ fingerprint: ['cookies'] })
  cancel(): void {}

  // @ts-expect-error the namespace belongs to the module
  @Idempotent({ namespace: 'orders' })
  refund(): void {}
}

// What becomes of unknown outcomes.
const lookUp: UnknownOutcomeResolver = async ({ attempts, fence, derive }) => {
  const oldest: bigint = fence;
  return attempts > oldest ? 'unknown' : { response: { status: 200, body: derive('charge') } };
};
({ onUnknownOutcome: lookUp }) satisfies IdempotencyModuleOptions;
// @ts-expect-error one of two words, or a function
({ onUnknownOutcome: 'retry' }) satisfies IdempotencyModuleOptions;
// @ts-expect-error a response needs a status
({ response: { body: 'x' } }) satisfies Verdict;

// Programmatic use.
@Injectable()
export class Payouts {
  constructor(@Inject(IdempotencyService) private readonly idempotency: IdempotencyService) {}

  async run(company: string): Promise<number> {
    // @ts-expect-error nothing can be kept apart without a key
    await this.idempotency.execute({ payload: company }, async () => 1);
    const paid = await this.idempotency.execute({ key: company }, async (once) => once.attempt);
    const found = await this.idempotency.find({ key: company });
    const settled: boolean = await this.idempotency.resolve({ key: company }, { result: 1 });
    // @ts-expect-error a verdict is no bare result
    await this.idempotency.resolve({ key: company }, settled);
    // @ts-expect-error there may be no record
    return paid + found.attemptsStarted;
  }
}

// A store of one's own answers the whole contract.
// @ts-expect-error claim() alone is no store
export const half: IdempotencyStore = { claim: memoryStore().claim };
