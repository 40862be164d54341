/** What the compiler accepts and refuses of the public API. `npm run typecheck` is the test. */
import { applyDecorators, Body, Controller, Inject, Injectable, Post } from '@nestjs/common';
import {
  CurrentIdempotency,
  IdempotencyModule,
  IdempotencyService,
  Idempotent,
  currentIdempotency,
  memoryStore,
  tick,
  type ExecuteOptions,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
  type IdempotencyOptionsFactory,
  type IdempotencyStore,
  type UnknownOutcomeResolver,
  type Verdict,
} from 'nestjs-idempotency';
import { entityManagerOf, typeOrmStore } from 'nestjs-idempotency/typeorm';

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
// @ts-expect-error who calls decides when to try again
({ key: '1', attempts: { max: 2, backoff: '1s' } }) satisfies ExecuteOptions;
// @ts-expect-error there is no message that could be a dead letter
({ key: '1', attempts: { max: 2, onExhausted: 'park' } }) satisfies ExecuteOptions;
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

// Methods.
export class PayoutRuns {
  @Idempotent({
    key: (company: string, period: string) => `${company}/${period}`,
    scope: (company: string) => company,
    payload: (company: string, period: string, cents: number) => ({ company, period, cents }),
    ttl: '30d',
    errors: 'store-client-errors',
  })
  async run(company: string, period: string, cents: number): Promise<{ paidAt: Date }> {
    return { paidAt: new Date(cents) };
  }

  @Idempotent({ key: tick('1h') })
  async everyHour(): Promise<void> {
    const fence: bigint = currentIdempotency().fence;
    void fence;
  }

  @Idempotent({ key: (...ids: string[]) => ids.join() })
  async many(...ids: string[]): Promise<number> {
    return ids.length;
  }

  @Idempotent({ key: (company: string, period?: string) => `${company}/${period}` })
  async optional(company: string, period?: string): Promise<string> {
    return company + period;
  }

  @Idempotent({ key: ({ id }: { id: string }) => id })
  static async wider(order: { id: string; sku: string }): Promise<string> {
    return order.sku;
  }

  // @ts-expect-error a method gets no messages
  @Idempotent({ key: (id: string) => id, consumer: 'payouts' })
  async consumer(id: string): Promise<string> {
    return id;
  }

  // @ts-expect-error nothing is delivered to a method
  @Idempotent({ key: (id: string) => id, attempts: { max: 2, backoff: '1s' } })
  async delivered(id: string): Promise<string> {
    return id;
  }

  // @ts-expect-error the key function takes a number where the method has a string
  @Idempotent({ key: (company: number) => `${company}` })
  async wrongType(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error nor does a payload function fit that takes something else
  @Idempotent({ key: (company: string) => company, payload: (company: number) => company })
  async wrongPayload(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error nor such a scope function
  @Idempotent({ key: (company: string) => company, scope: (company: { id: string }) => company.id })
  async wrongScope(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error the key function needs an argument that the method does not get
  @Idempotent({ key: (company: string, period: string) => company + period })
  async tooFew(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error nor may it rely on one that may be missing
  @Idempotent({ key: (company: string, period: string) => company + period })
  async mayBeMissing(company: string, period?: string): Promise<string> {
    return company + period;
  }

  // @ts-expect-error the rest of the arguments is of another type
  @Idempotent({ key: (...ids: string[]) => ids.join() })
  async wrongRest(...ids: number[]): Promise<number> {
    return ids.length;
  }

  // @ts-expect-error a protected method answers a promise
  @Idempotent({ key: (company: string) => company })
  sync(company: string): string {
    return company;
  }

  // @ts-expect-error a key is a string
  @Idempotent({ key: (id: number) => id })
  async wrongKey(id: number): Promise<number> {
    return id;
  }

  // @ts-expect-error the header belongs to routes
  @Idempotent({ key: (company: string) => company, header: 'X-Key' })
  async withHeader(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error and so does the fingerprint of a request
  @Idempotent({ key: (company: string) => company, fingerprint: ['body'] })
  async withFingerprint(company: string): Promise<string> {
    return company;
  }

  // @ts-expect-error the operation is the class and the method
  @Idempotent({ key: (company: string) => company, operation: 'payout' })
  async withOperation(company: string): Promise<string> {
    return company;
  }
}

// @ts-expect-error each method has a key of its own
@Idempotent({ key: () => 'key' })
export class KeyOnClass {}

// @ts-expect-error no duration
tick('hourly');
// a composed decorator gives up what the compiler knows of the method
export const Nightly = () => applyDecorators(Idempotent({ key: tick('1d') }) as MethodDecorator);

// Transactions, steps and the manager of what is open.
class Transfers {
  @Idempotent({ mode: 'transactional', strict: true })
  place(): void {}

  // @ts-expect-error one of two words
  @Idempotent({ mode: 'transaction' })
  misspelt(): void {}

  @Idempotent({ key: (id: string) => id, mode: 'transactional' })
  async run(id: string): Promise<string> {
    return id;
  }

  // @ts-expect-error a method has no status of its own to answer with
  @Idempotent({ key: (id: string) => id, header: 'X-Key' })
  async headed(id: string): Promise<string> {
    return id;
  }
}
void Transfers;

export async function steps(once: IdempotencyContext): Promise<void> {
  const count: number = await once.step('count', () => 1);
  const text: string = await once.transaction('book', async () => `${count}`);
  await entityManagerOf(once).query(text);
  await once.effectStarted();
  // @ts-expect-error a step has a name
  await once.step(() => 1);
}
