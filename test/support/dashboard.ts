import {
  Controller,
  HttpException,
  Post,
  type CanActivate,
  type DynamicModule,
  type ExecutionContext,
} from '@nestjs/common';
import {
  CurrentIdempotency,
  IdempotencyModule,
  IdempotencyService,
  Idempotent,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import { IdempotencyDashboardModule, type DashboardOptions } from 'nestjs-idempotency/dashboard';
import { OutboxModule, type OutboxSink } from 'nestjs-idempotency/outbox';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { createTestDatabase } from './databases.js';
import { startApp, type AppOptions, type Platform, type TestApp } from './http.js';

/** Lets those pass who send `x-user: admin`. */
export class AdminGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    return headers['x-user'] === 'admin';
  }
}

/** Answers that nobody gets: whether the card was charged is not known. */
@Controller('charges')
export class Charges {
  @Post()
  @Idempotent({ onUnknownOutcome: 'block' })
  async charge(@CurrentIdempotency() once: IdempotencyContext): Promise<void> {
    await once.effectStarted();
    throw new HttpException('cut', 502);
  }
}

export interface DashboardApp extends TestApp {
  readonly service: IdempotencyService;
}

/** An application with the dashboard, over the store in memory. */
export async function startDashboard(
  platform: Platform,
  dashboard: DashboardOptions | DynamicModule,
  app: AppOptions = {},
  options: IdempotencyModuleOptions = {},
): Promise<DashboardApp> {
  const started = await startApp(
    platform,
    {
      imports: [
        IdempotencyModule.forRoot({ store: memoryStore(), ...options }),
        'module' in dashboard ? dashboard : IdempotencyDashboardModule.forRoot(dashboard),
      ],
      controllers: [Charges],
    },
    app,
  );
  return { ...started, service: started.app.get(IdempotencyService) };
}

/** The same with an outbox, on SQLite. */
export async function startDashboardWithOutbox(
  dashboard: DashboardOptions,
  sink: OutboxSink,
): Promise<DashboardApp> {
  const database = await createTestDatabase('sqlite');
  const dataSource = await database.open({ synchronize: true });
  const started = await startApp('express', {
    imports: [
      IdempotencyModule.forRoot({ store: typeOrmStore({ dataSource }) }),
      OutboxModule.forRoot({
        dataSource,
        sinks: { broker: sink },
        pollInterval: 50,
        attempts: { max: 1 },
      }),
      IdempotencyDashboardModule.forRoot(dashboard),
    ],
    controllers: [Charges],
  });
  return {
    ...started,
    service: started.app.get(IdempotencyService),
    async close() {
      await started.close();
      await database.drop();
    },
  };
}

export const KEYS = {
  completed: '018f2b1c-completed-4711',
  uncertain: '018f2b1c-uncertain-4712',
  parked: '018f2b1c-parked-4713',
} as const;
export const SCOPE = 'alice@example.com';
export const RESULT = 'what-was-answered';
export const ERROR = 'the card of alice is stolen';

/** One record of each kind that people look at. */
export async function fillRecords(service: IdempotencyService): Promise<void> {
  const whose = { scope: SCOPE, operation: 'Orders.pay' };
  await service.execute({ ...whose, key: KEYS.completed }, () => RESULT);
  const fails = (key: string, options: object, effect: boolean): Promise<unknown> =>
    service
      .execute({ ...whose, key, ...options }, async (once) => {
        await once.step('reserve stock', () => RESULT);
        await once.step('charge card', () => RESULT);
        if (effect) {
          await once.effectStarted();
        }
        throw new TypeError(ERROR);
      })
      .catch(() => undefined);
  await fails(KEYS.uncertain, { onUnknownOutcome: 'block' }, true);
  await fails(KEYS.parked, { attempts: { max: 1 } }, false);
}
