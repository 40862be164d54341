export { OutboxModule } from './outbox.module.js';
export { Outbox, type ListParkedOptions } from './outbox.js';
export { OutboxRelay } from './relay.js';
export type { OutboxEvent, OutboxHooks, OutboxModuleOptions } from './outbox.options.js';
export type { OutboxMessage, OutboxSink, ParkedMessage, SendMessage, Sink } from './message.js';
export {
  clientProxySink,
  type ClientProxySinkOptions,
  type EmittingClient,
} from './sinks/client-proxy.sink.js';
export { bullMqSink, type JobQueue } from './sinks/bull-mq.sink.js';
export { CreateIdempotencyOutbox1764000000001, outboxMigrations } from './migration.js';
export type { OutboxTableOptions } from './schema.js';
