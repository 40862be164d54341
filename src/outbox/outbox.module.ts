import {
  ConfigurableModuleBuilder,
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type InjectionToken,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { IdempotencyEngine } from '../engine/engine.js';
import { misconfigured } from '../options-check.js';
import { dataSourceOf } from './data-source-of.js';
import { OUTBOX_SETTINGS } from './outbox.constants.js';
import { openOutbox, type OutboxCore } from './outbox-core.js';
import { Outbox } from './outbox.js';
import type { OutboxModuleOptions } from './outbox.options.js';
import { outboxSettings, type OutboxSettings } from './outbox.settings.js';
import { OutboxRelay } from './relay.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<OutboxModuleOptions>({ moduleName: 'Outbox' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createOutboxOptions')
    .setExtras<{ isGlobal?: boolean }>({ isGlobal: true }, (definition, { isGlobal }) => ({
      ...definition,
      global: isGlobal ?? true,
    }))
    .build();

/** Messages that are committed together with what they tell of, and the relay that sends them. */
@Module({
  providers: [
    {
      provide: OUTBOX_SETTINGS,
      inject: [{ token: MODULE_OPTIONS_TOKEN, optional: true }],
      useFactory: (options: OutboxModuleOptions) => outboxSettings(options),
    },
    Outbox,
    OutboxRelay,
  ],
  exports: [Outbox, OutboxRelay],
})
export class OutboxModule
  extends ConfigurableModuleClass
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown
{
  private opening: Promise<OutboxCore> | undefined;

  constructor(
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
    @Inject(OUTBOX_SETTINGS) private readonly settings: OutboxSettings,
    @Inject(Outbox) private readonly outbox: Outbox,
    @Inject(OutboxRelay) private readonly relay: OutboxRelay,
  ) {
    super();
  }

  /**
   * Visible in every module, unless `isGlobal` is false. What is wrong with the options is said when the
   * application starts.
   */
  static override forRoot(options: typeof OPTIONS_TYPE): DynamicModule {
    return super.forRoot(options);
  }

  /** Options from a factory, `isGlobal` beside it. */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a table or a sink that cannot work. */
  async onModuleInit(): Promise<void> {
    // hybrid applications initialise twice
    this.opening ??= this.open();
    await this.opening;
  }

  private async open(): Promise<OutboxCore> {
    const { moduleRef, settings } = this;
    const engine = engineOf(moduleRef);
    const core = await openOutbox(dataSourceOf(moduleRef, settings.options.dataSource), settings);
    const find = (token: InjectionToken): unknown => {
      try {
        return moduleRef.get(token, { strict: false });
      } catch {
        throw misconfigured(
          'OutboxModule',
          `there is no provider ${String(token)} for a sink. Import the module that provides it, such as ` +
            'ClientsModule.register([…]), in the root module.',
        );
      }
    };
    for (const sink of settings.sinks.values()) {
      await sink.open?.(find);
    }
    this.outbox.open(core);
    engine.outgoing = core.writer;
    return core;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.settings.relay) {
      this.relay.start(await this.opening!);
    }
  }

  onModuleDestroy(): void {
    this.relay.close();
  }

  /** Before the connections of the application are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.relay.stop();
    await (await this.opening)?.wakeUp.close();
  }
}

function engineOf(moduleRef: ModuleRef): IdempotencyEngine {
  try {
    return moduleRef.get(IdempotencyEngine, { strict: false });
  } catch {
    throw misconfigured(
      'OutboxModule',
      'there is no IdempotencyModule. Import IdempotencyModule.forRoot() in the root module.',
    );
  }
}
