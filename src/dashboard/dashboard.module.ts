import {
  Controller,
  Inject,
  Module,
  UseGuards,
  VERSION_NEUTRAL,
  type DynamicModule,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import { DashboardApiController } from './api.controller.js';
import { DASHBOARD_OPTIONS } from './dashboard.constants.js';
import {
  checkDashboardOptions,
  DEFAULT_PATH,
  refuseToStandOpen,
  type DashboardGuard,
  type DashboardOptions,
} from './dashboard.options.js';
import { Inspected } from './inspected.js';
import { DashboardMessages } from './messages.js';
import { DashboardPageController } from './page.controller.js';
import { DashboardRecords } from './records.js';
import { Responder } from './responder.js';
import { SameOriginGuard } from './same-origin.guard.js';

/** A page to look into the records and the outbox, and to repair them, behind the application's own guards. */
@Module({})
export class IdempotencyDashboardModule implements OnModuleInit {
  constructor(@Inject(DASHBOARD_OPTIONS) private readonly options: DashboardOptions) {}

  /**
   * At `path`, whatever version of the application is asked for. When the application starts, it is refused without
   * `guards`, unless it may be `open` and `NODE_ENV` is not `production`.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that are none.
   */
  static forRoot(options: DashboardOptions): DynamicModule {
    checkDashboardOptions(options);
    const { path = DEFAULT_PATH, guards = [], imports = [] } = options;
    return {
      module: IdempotencyDashboardModule,
      imports,
      controllers: [
        mounted(DashboardPageController, path, guards, options),
        mounted(DashboardApiController, `${path}/api`, [SameOriginGuard, ...guards], options),
      ],
      providers: [
        { provide: DASHBOARD_OPTIONS, useValue: options },
        Inspected,
        DashboardRecords,
        DashboardMessages,
        Responder,
      ],
    };
  }

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when nobody would be kept out. */
  onModuleInit(): void {
    refuseToStandOpen(this.options);
  }
}

/** A class of its own for each path: decorators are the class's. */
function mounted(
  controller: Type<object>,
  path: string,
  guards: readonly DashboardGuard[],
  { decorators = [] }: DashboardOptions,
): Type<object> {
  const own = class extends controller {};
  Object.defineProperty(own, 'name', { value: controller.name });
  Controller({ path, version: VERSION_NEUTRAL })(own);
  UseGuards(...guards)(own);
  decorators.forEach((decorate) => decorate(own));
  return own;
}
