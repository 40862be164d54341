import { ConfigurableModuleBuilder, type DynamicModule, type Provider } from '@nestjs/common';
import { defaultStore } from './default-store.js';
import type { IdempotencyStore } from './engine/store.js';
import { IDEMPOTENCY_STORE } from './idempotency.constants.js';
import type {
  IdempotencyModuleExtras,
  IdempotencyModuleOptions,
  StoreDefinition,
} from './idempotency.options.js';

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<IdempotencyModuleOptions>({ moduleName: 'Idempotency' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createIdempotencyOptions')
    .setExtras<IdempotencyModuleExtras>({ isGlobal: true, store: undefined }, withStore)
    .build();

function withStore(definition: DynamicModule, extras: IdempotencyModuleExtras): DynamicModule {
  const store = definitionOf(extras.store);
  const provider: Provider = {
    provide: IDEMPOTENCY_STORE,
    useFactory: store.useFactory as (...args: unknown[]) => unknown,
    inject: [...(store.inject ?? [])],
  };
  return {
    ...definition,
    global: extras.isGlobal ?? true,
    imports: [...(definition.imports ?? []), ...(store.imports ?? [])],
    providers: [...(definition.providers ?? []), provider],
  };
}

function definitionOf(store: IdempotencyStore | StoreDefinition | undefined): StoreDefinition {
  if (store === undefined) {
    return defaultStore;
  }
  return 'useFactory' in store ? store : { useFactory: () => store };
}
