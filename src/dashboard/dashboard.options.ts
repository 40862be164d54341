import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import { boolean, isRecord, show, type Check } from '../option-values.js';
import { checkEach, misconfigured } from '../options-check.js';

export type DashboardGuard = Type<CanActivate> | CanActivate;

/** Options of `IdempotencyDashboardModule.forRoot()`. */
export interface DashboardOptions {
  /**
   * Where the page is, behind the application's global prefix.
   * @default '/idempotency'
   */
  readonly path?: string;
  /** Who may see and change records. They run after the application's global guards. */
  readonly guards?: readonly DashboardGuard[];
  /**
   * Without guards: whoever reaches the application may see and change records. Refused in production.
   * @default false
   */
  readonly open?: boolean;
  /**
   * Shows keys, scopes and what parked operations threw. What was answered is never shown.
   * @default false
   */
  readonly reveal?: boolean;
  /** Modules whose providers the guards inject. */
  readonly imports?: NonNullable<ModuleMetadata['imports']>;
  /** For the controllers of the page, such as one that lets a global guard pass them on to `guards`. */
  readonly decorators?: readonly ClassDecorator[];
}

export const DEFAULT_PATH = '/idempotency';

const WHERE = 'IdempotencyDashboardModule';
const PATH = /^\/?[\w.-]+(\/[\w.-]+)*\/?$/;

const list =
  (isOne: (value: unknown) => boolean, instead: string): Check =>
  (value) =>
    Array.isArray(value) && value.every(isOne) ? undefined : instead;
const isFunction = (value: unknown): boolean => typeof value === 'function';
const isGuard = (value: unknown): boolean =>
  isFunction(value) || typeof (value as CanActivate | null)?.canActivate === 'function';

const checks: Readonly<Record<keyof DashboardOptions, Check>> = {
  path: (value) =>
    typeof value === 'string' && PATH.test(value)
      ? undefined
      : `Write a path without parameters, such as '${DEFAULT_PATH}'.`,
  guards: list(isGuard, 'Write a list of guards, such as [AdminGuard].'),
  open: boolean,
  reveal: boolean,
  imports: list(() => true, 'Write a list of modules.'),
  decorators: list(isFunction, 'Write a list of class decorators, such as [Public()].'),
};

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkDashboardOptions(options: DashboardOptions): void {
  if (!isRecord(options)) {
    throw misconfigured(WHERE, `its options are ${show(options)}. Write { guards: [AdminGuard] }.`);
  }
  checkEach(checks, options, WHERE);
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when nobody would be kept out. */
export function refuseToStandOpen({ guards = [], open = false }: DashboardOptions): void {
  if (guards.length > 0) {
    return;
  }
  const everybody =
    'it has no guards, so that everybody who reaches this application could see and change its records. ' +
    'Write guards: [AdminGuard]';
  if (process.env.NODE_ENV === 'production') {
    throw misconfigured(WHERE, `${everybody}; in production it does not start without.`);
  }
  if (!open) {
    throw misconfigured(WHERE, `${everybody}, or open: true where you develop.`);
  }
}
