export { IdempotencyDashboardModule } from './dashboard.module.js';
export type { DashboardGuard, DashboardOptions } from './dashboard.options.js';
