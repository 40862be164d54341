import {
  ConfigurableModuleBuilder,
  Controller,
  Inject,
  Module,
  UseGuards,
  VERSION_NEUTRAL,
  type DynamicModule,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { DashboardApiController } from './api.controller.js';
import { DASHBOARD_OPTIONS } from './dashboard.constants.js';
import {
  checkDashboardAsyncOptions,
  checkDashboardOptions,
  checkDashboardSettings,
  DEFAULT_PATH,
  refuseAnother,
  refuseToStandOpen,
  type DashboardAsyncOptions,
  type DashboardExtras,
  type DashboardGuard,
  type DashboardOptions,
  type DashboardSettings,
} from './dashboard.options.js';
import { Inspected } from './inspected.js';
import { DashboardMessages } from './messages.js';
import { DashboardPageController } from './page.controller.js';
import { DashboardRecords } from './records.js';
import { Responder } from './responder.js';
import { SameOriginGuard } from './same-origin.guard.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<DashboardSettings>({ moduleName: 'IdempotencyDashboard' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createDashboardOptions')
    .setExtras<DashboardExtras>({ guards: [], imports: undefined, decorators: [] }, withPage)
    .build();

/** A page to look into the records and the outbox, and to repair them, behind the application's own guards. */
@Module({})
export class IdempotencyDashboardModule extends ConfigurableModuleClass implements OnModuleInit {
  constructor(
    @Inject(DASHBOARD_OPTIONS) private readonly options: DashboardOptions,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {
    super();
  }

  /**
   * At `path`, whatever version of the application is asked for. When the application starts, it is refused without
   * `guards`, unless it may be `open` and `NODE_ENV` is not `production`.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that are none.
   */
  static override forRoot(options: DashboardOptions): DynamicModule {
    checkDashboardOptions(options);
    return super.forRoot(options);
  }

  /**
   * Options from a factory. `guards` and `decorators` stand beside it, since Nest needs them before the factory can
   * run; `imports` are for the factory and for the guards. Refused as `forRoot()` is, when the application starts.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for guards or decorators that are none.
   */
  static override forRootAsync(options: DashboardAsyncOptions): DynamicModule {
    checkDashboardAsyncOptions(options);
    return super.forRootAsync(options);
  }

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when nobody would be kept out, or by other guards. */
  onModuleInit(): void {
    refuseToStandOpen(this.options);
    const others = [...this.modules.values()]
      .map(({ instance }): unknown => instance)
      .filter((it) => it instanceof IdempotencyDashboardModule)
      .filter((it) => it !== this);
    refuseAnother(
      this.options,
      others.map(({ options }) => options),
    );
  }
}

function withPage(definition: DynamicModule, options: DashboardOptions): DynamicModule {
  const { path = DEFAULT_PATH, guards = [], imports } = options;
  const page = controller(DashboardPageController, guards);
  const api = controller(DashboardApiController, [SameOriginGuard, ...guards]);
  const mount = (at: string): void => {
    Controller({ path: at, version: VERSION_NEUTRAL })(page);
    Controller({ path: `${at}/api`, version: VERSION_NEUTRAL })(api);
  };
  mount(path);
  options.decorators?.forEach((decorate) => [page, api].forEach((own) => decorate(own)));
  return {
    ...definition,
    imports: definition.imports ?? imports ?? [],
    controllers: [page, api],
    providers: [
      ...(definition.providers ?? []),
      {
        provide: DASHBOARD_OPTIONS,
        inject: [{ token: MODULE_OPTIONS_TOKEN, optional: true }],
        useFactory: (settings: DashboardSettings): DashboardOptions => {
          checkDashboardSettings(settings);
          // routes are made once all factories have answered
          if (settings.path !== undefined && settings.path !== path) mount(settings.path);
          return { ...settings, guards };
        },
      },
      Inspected,
      DashboardRecords,
      DashboardMessages,
      Responder,
    ],
  };
}

/** A class of its own for each module: decorators are the class's. */
function controller(base: Type<object>, guards: readonly DashboardGuard[]): Type<object> {
  const own = class extends base {};
  Object.defineProperty(own, 'name', { value: base.name });
  UseGuards(...guards)(own);
  return own;
}
