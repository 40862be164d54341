export { IdempotencyDashboardModule } from './dashboard.module.js';
export type {
  DashboardAsyncOptions,
  DashboardExtras,
  DashboardGuard,
  DashboardOptions,
  DashboardSettings,
} from './dashboard.options.js';
