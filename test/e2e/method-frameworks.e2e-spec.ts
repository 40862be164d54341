import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { BullModule, getQueueToken, Processor, WorkerHost } from '@nestjs/bullmq';
import {
  Injectable,
  Scope,
  type LoggerService,
  type ModuleMetadata,
  type OnApplicationShutdown,
} from '@nestjs/common';
import {
  Command,
  CommandBus,
  CommandHandler,
  CqrsModule,
  EventBus,
  EventsHandler,
  UnhandledExceptionBus,
} from '@nestjs/cqrs';
import { EventEmitter2, EventEmitterModule, OnEvent } from '@nestjs/event-emitter';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import { Test, type TestingModule } from '@nestjs/testing';
import { QueueEvents, type Job, type Queue } from 'bullmq';
import {
  currentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  tick,
  type IdempotencyModuleExtras,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';

const redisUrl = process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379';

let apps: TestingModule[] = [];
let runs: string[] = [];
let logged: string[] = [];

const silent = (): void => undefined;
const logger: LoggerService = {
  log: silent,
  warn: silent,
  error: (message: unknown) => logged.push(String(message)),
};

beforeEach(() => {
  runs = [];
  logged = [];
});
afterEach(async () => {
  await Promise.all(apps.map((app) => app.close()));
  apps = [];
});

async function start(
  { imports = [], providers = [] }: ModuleMetadata,
  options: IdempotencyModuleOptions & IdempotencyModuleExtras = {},
): Promise<TestingModule> {
  const app = await Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store: memoryStore(), ...options }), ...imports],
    providers,
  })
    .setLogger(logger)
    .compile();
  apps.push(app);
  return app.init();
}

describe('CQRS', () => {
  class CloseInvoice extends Command<{ closedAt: Date; attempt: number }> {
    constructor(readonly invoice: string) {
      super();
    }
  }

  class InvoiceClosed {
    constructor(readonly invoice: string) {}
  }

  @CommandHandler(CloseInvoice)
  class CloseInvoiceHandler {
    @Idempotent({ key: (command: CloseInvoice) => command.invoice })
    async execute(command: CloseInvoice): Promise<{ closedAt: Date; attempt: number }> {
      runs.push(`close ${command.invoice}`);
      return { closedAt: new Date(0), attempt: currentIdempotency().attempt };
    }
  }

  class SendInvoice extends Command<string> {
    constructor(readonly invoice: string) {
      super();
    }
  }

  @CommandHandler(SendInvoice, { scope: Scope.REQUEST })
  class SendInvoiceHandler {
    @Idempotent({ key: (command: SendInvoice) => command.invoice })
    async execute(command: SendInvoice): Promise<string> {
      runs.push(`send ${command.invoice}`);
      return command.invoice;
    }
  }

  @EventsHandler(InvoiceClosed)
  class BookInvoice {
    @Idempotent({ key: (event: InvoiceClosed) => event.invoice })
    async handle(event: InvoiceClosed): Promise<void> {
      runs.push(`book ${event.invoice}`);
    }
  }

  @EventsHandler(InvoiceClosed)
  class MailInvoice {
    static failures = 0;

    @Idempotent({ key: (event: InvoiceClosed) => event.invoice })
    async handle(event: InvoiceClosed): Promise<void> {
      runs.push(`mail ${event.invoice}`);
      if (MailInvoice.failures-- > 0) {
        throw new Error('no mail today');
      }
    }
  }

  const imports = [CqrsModule.forRoot()];
  const providers = [CloseInvoiceHandler, SendInvoiceHandler, BookInvoice, MailInvoice];
  beforeEach(() => (MailInvoice.failures = 0));

  it.each([CloseInvoice, SendInvoice])('a command runs once: %p', async (Message) => {
    const commands = (await start({ imports, providers })).get(CommandBus);
    const first = await commands.execute(new Message('one'));
    expect(await commands.execute(new Message('one'))).toStrictEqual(first);
    await commands.execute(new Message('two'));
    expect(runs).toEqual([
      expect.stringMatching(/^(close|send) one$/),
      expect.stringMatching(/^(close|send) two$/),
    ]);
  });

  it('each handler of an event handles it once', async () => {
    let settled = 0;
    const count = (): number => (settled += 1);
    const hooks = { onExecuted: count, onReplayed: count };
    const app = await start({ imports, providers }, { hooks });
    for (let delivery = 1; delivery <= 3; delivery += 1) {
      await app.get(EventBus).publish(new InvoiceClosed('one'));
      await eventually(() => settled === 2 * delivery, 'both handlers are done');
    }
    expect(new Set(runs)).toEqual(new Set(['book one', 'mail one']));
    expect(runs).toHaveLength(2);
  });

  it('a handler that failed handles the event when it comes again, and the other does not', async () => {
    MailInvoice.failures = 1;
    const app = await start({ imports, providers });
    const unhandled: unknown[] = [];
    app.get(UnhandledExceptionBus).subscribe(({ exception }) => unhandled.push(exception));
    const completed = async (): Promise<number> =>
      (await app.get(IdempotencyService).list({ state: 'completed' })).length;

    await app.get(EventBus).publish(new InvoiceClosed('one'));
    await eventually(async () => unhandled.length === 1 && (await completed()) === 1, 'one failed');
    expect(unhandled).toEqual([expect.objectContaining({ message: 'no mail today' })]);
    await app.get(EventBus).publish(new InvoiceClosed('one'));
    await eventually(async () => (await completed()) === 2, 'both are done');
    expect(runs.filter((run) => run === 'book one')).toHaveLength(1);
    expect(runs.filter((run) => run === 'mail one')).toHaveLength(2);
  });
});

describe('@OnEvent()', () => {
  interface OrderPlaced {
    readonly id: string;
  }

  @Injectable()
  class Above {
    @OnEvent('order.placed')
    @Idempotent({ key: (event: OrderPlaced) => event.id })
    async onPlaced(event: OrderPlaced): Promise<void> {
      runs.push(`above ${event.id}`);
    }
  }

  @Injectable()
  class Beneath {
    @Idempotent({ key: (event: OrderPlaced) => event.id })
    @OnEvent('order.placed')
    @OnEvent('order.imported')
    async onPlaced(event: OrderPlaced): Promise<void> {
      runs.push(`beneath ${event.id}`);
    }
  }

  @Injectable({ scope: Scope.REQUEST })
  class PerEvent {
    @OnEvent('order.placed')
    @Idempotent({ key: (event: OrderPlaced) => event.id })
    async onPlaced(event: OrderPlaced): Promise<void> {
      runs.push(`per event ${event.id}`);
    }
  }

  it('each listener hears an event once, whichever decorator stands above', async () => {
    const app = await start({
      imports: [EventEmitterModule.forRoot()],
      providers: [Above, Beneath, PerEvent],
    });
    const events = app.get(EventEmitter2);
    await events.emitAsync('order.placed', { id: '1' });
    await events.emitAsync('order.placed', { id: '1' });
    await events.emitAsync('order.imported', { id: '1' });
    await events.emitAsync('order.imported', { id: '2' });
    expect(new Set(runs)).toEqual(new Set(['above 1', 'beneath 1', 'per event 1', 'beneath 2']));
    expect(runs).toHaveLength(4);
    expect(logged).toEqual([]);
  });
});

describe('@Cron()', () => {
  /** Every three seconds; what it does takes until another instance was turned away. */
  @Injectable()
  class Reports implements OnApplicationShutdown {
    static instances = 0;
    static turnedAway = 0;
    static closing = false;
    readonly instance = (Reports.instances += 1);

    @Cron('*/3 * * * * *')
    @Idempotent({ key: tick('3s') })
    async make(): Promise<void> {
      const before = Reports.turnedAway;
      runs.push(currentIdempotency().key);
      await eventually(
        () => Reports.turnedAway > before || Reports.closing,
        'the other instance is turned away',
      );
    }

    onApplicationShutdown(): void {
      Reports.closing = true;
    }
  }

  it('one of two instances on one database wins a tick, and the loser logs nothing', async () => {
    const database: TestDatabase = await createTestDatabase('postgres');
    try {
      for (let instance = 0; instance < 2; instance += 1) {
        const dataSource = await database.open({ synchronize: true });
        await start(
          { imports: [ScheduleModule.forRoot()], providers: [Reports] },
          {
            store: typeOrmStore({ dataSource }),
            cleanup: false,
            hooks: {
              onRejected: ({ code }) => {
                Reports.turnedAway += Number(code === 'IDEMPOTENCY_IN_PROGRESS');
              },
            },
          },
        );
      }
      await eventually(() => Reports.turnedAway >= 2, 'two ticks had a loser', 20_000);
      expect(logged).toEqual([]);
      expect(runs.length).toBeGreaterThanOrEqual(2);
      expect(new Set(runs).size).toBe(runs.length);
    } finally {
      await Promise.all(apps.map((app) => app.close()));
      apps = [];
      await database.drop();
    }
  });

  @Injectable()
  class Yearly {
    readonly gate = new TestGate();

    @Cron('0 0 1 1 *')
    @Idempotent({ key: (id?: string) => `${id}` })
    async above(_id?: string): Promise<string> {
      return this.held('above');
    }

    @Idempotent({ key: (id?: string) => `${id}` })
    @Cron('0 0 1 1 *')
    async beneath(_id?: string): Promise<string> {
      return this.held('beneath');
    }

    @Idempotent({ key: () => 'plain' })
    async plain(): Promise<string> {
      return this.held('plain');
    }

    @Cron('0 0 1 1 *')
    @Idempotent({ key: () => 'caller' })
    async caller(): Promise<string> {
      return this.plain();
    }

    private async held(name: string): Promise<string> {
      runs.push(name);
      await this.gate.pass();
      return name;
    }
  }

  it.each(['above', 'beneath'] as const)(
    'a duplicate in flight of a tick answers nothing, with @Cron() %s, and one behind it the result',
    async (method) => {
      const app = await start({ imports: [ScheduleModule.forRoot()], providers: [Yearly] });
      const yearly = app.get(Yearly);
      const first = yearly[method]('tick');
      await yearly.gate.reached;
      expect(await yearly[method]('tick')).toBeUndefined();
      yearly.gate.open();
      expect([await first, await yearly[method]('tick')]).toEqual([method, method]);
      expect(runs).toEqual([method]);
    },
  );

  it('what a tick itself runs into is thrown', async () => {
    const app = await start({ imports: [ScheduleModule.forRoot()], providers: [Yearly] });
    const yearly = app.get(Yearly);
    const first = yearly.plain();
    await yearly.gate.reached;
    const inProgress = { code: 'IDEMPOTENCY_IN_PROGRESS' };
    await expect(yearly.plain()).rejects.toMatchObject(inProgress);
    await expect(yearly.caller()).rejects.toMatchObject(inProgress);
    yearly.gate.open();
    await first;
  });

  it('a tick that fails is logged by the scheduler, as always', async () => {
    @Injectable()
    class Failing {
      @Cron('* * * * * *')
      @Idempotent({ key: () => randomUUID() })
      async fail(): Promise<void> {
        throw new Error('no report today');
      }
    }
    await start({ imports: [ScheduleModule.forRoot()], providers: [Failing] });
    await eventually(() => logged.includes('Error: no report today'), 'it is logged');
  });
});

if (redisUrl !== '') {
  describe('BullMQ', () => {
    interface Payout {
      readonly company: string;
      readonly period: string;
    }

    let gate: TestGate;
    let failures: number;

    @Processor('payouts', { concurrency: 2 })
    class PayoutProcessor extends WorkerHost {
      @Idempotent({ key: ({ data }: Job<Payout>) => `${data.company}/${data.period}` })
      override async process(job: Job<Payout>): Promise<{ paid: string; attempt: number }> {
        runs.push(`${job.data.company} ${job.id}`);
        await gate.pass();
        if (failures-- > 0) {
          throw new Error('the bank is closed');
        }
        return { paid: job.data.company, attempt: currentIdempotency().attempt };
      }
    }

    let queue: Queue<Payout>;
    let events: QueueEvents;

    beforeEach(async () => {
      gate = new TestGate();
      failures = 0;
      const { hostname, port } = new URL(redisUrl);
      const connection = { host: hostname, port: Number(port || 6379) };
      const prefix = `idempotency-${randomUUID()}`;
      const app = await start({
        imports: [
          BullModule.forRoot({ connection, prefix }),
          BullModule.registerQueue({ name: 'payouts' }),
        ],
        providers: [PayoutProcessor],
      });
      queue = app.get<Queue<Payout>>(getQueueToken('payouts'));
      events = new QueueEvents('payouts', { connection, prefix });
      await events.waitUntilReady();
    });
    afterEach(async () => {
      gate.open();
      await events.close();
      await queue.obliterate({ force: true });
    });

    const add = (jobId: string, options: object = {}): Promise<Job<Payout>> =>
      queue.add('payout', { company: 'acme', period: '2026-01' }, { jobId, ...options });

    it('two jobs with one business key run once, and both have its result', async () => {
      gate.open();
      const result = { paid: 'acme', attempt: 1 };
      expect(await (await add('one')).waitUntilFinished(events)).toEqual(result);
      expect(await (await add('two')).waitUntilFinished(events)).toEqual(result);
      expect(runs).toEqual(['acme one']);
    });

    it('a job that failed is retried and runs again', async () => {
      gate.open();
      failures = 1;
      const job = await add('one', { attempts: 2 });
      expect(await job.waitUntilFinished(events)).toEqual({ paid: 'acme', attempt: 2 });
      expect(runs).toEqual(['acme one', 'acme one']);
    });

    it('a duplicate beside the first fails and is retried until there is a result', async () => {
      const first = await add('one');
      await gate.reached;
      const second = await add('two', { attempts: 20, backoff: { type: 'fixed', delay: 100 } });
      await eventually(
        async () => ((await queue.getJob('two'))?.attemptsMade ?? 0) > 0,
        'the duplicate has failed once',
      );
      gate.open();
      const results = [first, second].map((job) => job.waitUntilFinished(events));
      expect(await Promise.all(results)).toEqual([
        { paid: 'acme', attempt: 1 },
        { paid: 'acme', attempt: 1 },
      ]);
      expect(runs).toEqual(['acme one']);
    });
  });
}
