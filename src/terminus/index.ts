export { IdempotencyHealthIndicator, type HealthOptions } from './idempotency.health.js';
