import {
  Inject,
  Logger,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { CleanupTask } from './cleanup/cleanup.task.js';
import { IdempotencyEngine } from './engine/engine.js';
import type { IdempotencyStore } from './engine/store.js';
import { RequestOperations } from './http/request-operations.js';
import { RouteExplorer } from './http/route-explorer.js';
import { RouteSettingsRegistry } from './http/route-settings.js';
import { IDEMPOTENCY_SETTINGS, IDEMPOTENCY_STORE } from './idempotency.constants.js';
import {
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN,
  type ASYNC_OPTIONS_TYPE,
  type OPTIONS_TYPE,
} from './idempotency.module-definition.js';
import type { IdempotencyModuleOptions } from './idempotency.options.js';
import { IdempotencyService } from './idempotency.service.js';
import { moduleSettings, type ModuleSettings } from './idempotency.settings.js';
import { MessageHandlers } from './messaging/message-handlers.js';
import { MessageHandling } from './messaging/message-handling.js';
import { MessageOperations } from './messaging/message-operations.js';
import { RabbitSiblings } from './messaging/rabbitmq/siblings.js';
import { MethodExplorer } from './methods/method-explorer.js';
import { misconfigured } from './options-check.js';
import { layered } from './stores/layered.js';
import { RefusalReport } from './refusal-report.js';
import { StartupReport } from './startup-report.js';
import { checkAsyncRegistration, checkRegistration } from './registration-check.js';

@Module({
  providers: [
    {
      provide: IDEMPOTENCY_SETTINGS,
      inject: [{ token: MODULE_OPTIONS_TOKEN, optional: true }],
      useFactory: (options: IdempotencyModuleOptions | undefined) => {
        if (options === undefined) {
          throw misconfigured(
            'IdempotencyModule',
            'it was imported without options. Write IdempotencyModule.forRoot().',
          );
        }
        return moduleSettings(options);
      },
    },
    {
      provide: IdempotencyEngine,
      inject: [IDEMPOTENCY_STORE, IDEMPOTENCY_SETTINGS],
      useFactory: (store: IdempotencyStore, settings: ModuleSettings) => {
        const { storeTimeoutMs, mask, emit, telemetry } = settings;
        return new IdempotencyEngine({
          store: layered(store, settings),
          storeTimeoutMs,
          mask,
          emit,
          telemetry,
        });
      },
    },
    RouteSettingsRegistry,
    RouteExplorer,
    RefusalReport,
    RequestOperations,
    MessageOperations,
    MessageHandlers,
    MessageHandling,
    RabbitSiblings,
    CleanupTask,
    IdempotencyService,
    MethodExplorer,
    StartupReport,
  ],
  exports: [IdempotencyService, RequestOperations, RouteSettingsRegistry, MessageHandling],
})
export class IdempotencyModule
  extends ConfigurableModuleClass
  implements OnModuleInit, OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown
{
  constructor(
    @Inject(IdempotencyEngine) private readonly engine: IdempotencyEngine,
    @Inject(RouteExplorer) private readonly routes: RouteExplorer,
    @Inject(MethodExplorer) private readonly methods: MethodExplorer,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly settings: ModuleSettings,
    @Inject(StartupReport) private readonly report: StartupReport,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {
    super();
  }

  /**
   * With no options: `typeOrmStore()` on the application's default DataSource, visible in every module.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a store that is none; what is wrong with the
   *   other options is said when the application starts.
   */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    checkRegistration(options);
    return super.forRoot(options);
  }

  /**
   * Options from a factory. `store` and `isGlobal` stand beside it.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for anything else beside it.
   */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    checkAsyncRegistration(options);
    return super.forRootAsync(options);
  }

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a store, a route or a method that cannot work. */
  async onModuleInit(): Promise<void> {
    this.checkAlone();
    this.routes.check(this.engine.store);
    this.methods.check(this.engine.store);
    await this.engine.start();
    this.methods.start();
    await this.warn();
    this.report.print();
  }

  private async warn(): Promise<void> {
    const { store } = this.engine;
    const { transactions, warnings = [] } = store;
    const isUsed = this.settings.options.mode === 'transactional' || this.routes.hasTransactions;
    const logger = new Logger('Idempotency');
    for (const warning of warnings) {
      logger.warn(warning);
    }
    if (isUsed && transactions?.warning !== undefined) {
      logger.warn(transactions.warning);
    }
    const warning = this.routes.limitsKeys ? await store.scopeWarning?.() : undefined;
    if (warning !== undefined) {
      logger.warn(warning);
    }
  }

  /** Two global ones would each claim to be everybody's, and which one a route gets would be chance. */
  private checkAlone(): void {
    const everywhere = [...this.modules.values()].filter(
      ({ metatype, isGlobal }) => metatype === IdempotencyModule && isGlobal,
    );
    if (everywhere.length > 1) {
      throw misconfigured(
        'IdempotencyModule',
        `forRoot() was called ${everywhere.length} times. Call it once, in the ` +
          'root module, or write isGlobal: false and import each where it is used.',
      );
    }
  }

  /** First of all: what runs may end, and nothing new is begun. */
  onModuleDestroy(): void {
    this.engine.close();
  }

  /** Before the connections of the application are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.engine.drain(this.settings.shutdownTimeoutMs);
  }

  onApplicationShutdown(): void {
    this.engine.stop();
  }
}
