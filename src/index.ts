export { IdempotencyModule } from './idempotency.module.js';
export { Idempotent } from './idempotent.decorator.js';
export { IdempotencyService } from './idempotency.service.js';
export type { ExecuteOptions, IdempotencyKey } from './execute-options.js';
export type { ListOptions } from './list-options.js';
export type { BatchFresh, BatchOptions, BatchWork } from './batch-options.js';
export type { IdempotencyRecordView } from './record-view.js';
export { currentIdempotency } from './methods/current-idempotency.js';
export type {
  IdempotentMethodDecorator,
  IdempotentMethodOptions,
} from './methods/method-options.js';
export type { IncomingMessage, MessageTransport } from './messaging/incoming-message.js';
export type { MessageOptions } from './messaging/message-options.js';
export { tick } from './methods/tick.js';
export { CurrentIdempotency } from './current-idempotency.decorator.js';
export { memoryStore } from './stores/memory/index.js';
export { IdempotencyException, type Problem } from './http/problem.js';
export { IDEMPOTENCY_CODES, IdempotencyError, type IdempotencyCode } from './engine/errors.js';
export type { IdempotencyContext } from './engine/attempt.js';
export type { OutgoingMessages, OutgoingOptions, TransactionManager } from './engine/outgoing.js';
export type { Duration } from './engine/duration.js';
export type { Telemetry } from './engine/telemetry.js';
export type { AttemptEvent, IdempotencyEvent, IdempotencyHooks } from './engine/events.js';
export type { FailureInfo, FailurePolicy, FailureVerdict } from './engine/failure-policy.js';
export type {
  UnknownOutcome,
  UnknownOutcomeResolver,
  Verdict,
  VerdictResponse,
} from './engine/unknown-outcome.js';
export type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  IdempotencyStore,
  ListFilter,
  RecordState,
  SettleResult,
  StoredRecord,
  Upkeep,
} from './engine/store.js';
export type {
  AttemptsOptions,
  CleanupOptions,
  EncryptionOptions,
  ReplayCacheOptions,
  FingerprintFunction,
  FingerprintInput,
  FingerprintPart,
  HttpRequest,
  IdempotencyDefaults,
  IdempotencyModuleExtras,
  IdempotencyModuleOptions,
  IdempotencyOptionsFactory,
  IdempotentOptions,
  StoreDefinition,
} from './idempotency.options.js';
