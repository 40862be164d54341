import type {
  CanActivate,
  ConfigurableModuleAsyncOptions,
  ModuleMetadata,
  Type,
} from '@nestjs/common';
import { boolean, isRecord, show, type Check } from '../option-values.js';
import { checkEach, misconfigured } from '../options-check.js';

export type DashboardGuard = Type<CanActivate> | CanActivate;

/** What a factory may answer: what is not needed before it can run. */
export interface DashboardSettings {
  /**
   * Where the page is, behind the application's global prefix.
   * @default '/idempotency'
   */
  readonly path?: string;
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
}

/** What the page is made of, with `forRootAsync()` beside the factory. */
export interface DashboardExtras {
  /** Who may see and change records. They run after the application's global guards. */
  readonly guards?: readonly DashboardGuard[];
  /** Modules whose providers the guards inject. */
  readonly imports?: NonNullable<ModuleMetadata['imports']>;
  /** For the controllers of the page, such as one that lets a global guard pass them on to `guards`. */
  readonly decorators?: readonly ClassDecorator[];
}

/** Options of `IdempotencyDashboardModule.forRoot()`. */
export interface DashboardOptions extends DashboardSettings, DashboardExtras {}

/** Options of `IdempotencyDashboardModule.forRootAsync()`. */
export interface DashboardAsyncOptions
  extends
    ConfigurableModuleAsyncOptions<DashboardSettings, 'createDashboardOptions'>,
    Omit<DashboardExtras, 'imports'> {}

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

const settings: Readonly<Record<keyof DashboardSettings, Check>> = {
  path: (value) =>
    typeof value === 'string' && PATH.test(value)
      ? undefined
      : `Write a path without parameters, such as '${DEFAULT_PATH}'.`,
  open: boolean,
  reveal: boolean,
};

const extras: Readonly<Record<keyof DashboardExtras, Check>> = {
  guards: list(isGuard, 'Write a list of guards, such as [AdminGuard].'),
  imports: list(() => true, 'Write a list of modules.'),
  decorators: list(isFunction, 'Write a list of class decorators, such as [Public()].'),
};

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkDashboardOptions(options: DashboardOptions): void {
  if (!isRecord(options)) {
    throw misconfigured(WHERE, `its options are ${show(options)}. Write { guards: [AdminGuard] }.`);
  }
  checkEach({ ...settings, ...extras }, options, WHERE);
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkDashboardAsyncOptions(options: DashboardAsyncOptions): void {
  const misplaced = nameIn(options, settings);
  if (misplaced !== undefined) {
    throw misconfigured(
      WHERE,
      `'${misplaced}' stands beside its factory. Let the factory answer it: ` +
        `useFactory: () => ({ ${misplaced}: … }).`,
    );
  }
  const { guards, decorators } = options;
  checkEach(extras, { guards, decorators }, WHERE);
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkDashboardSettings(answer: DashboardSettings): void {
  if (!isRecord(answer)) {
    throw misconfigured(
      WHERE,
      `its factory answered ${show(answer)}. Answer an object, such as {}.`,
    );
  }
  const misplaced = nameIn(answer, extras);
  if (misplaced !== undefined) {
    throw misconfigured(
      WHERE,
      `its factory answered '${misplaced}', which Nest needs before a factory can run. Write it beside ` +
        `the factory: forRootAsync({ ${misplaced}: […], useFactory: … }).`,
    );
  }
  checkEach(settings, answer, WHERE);
}

function nameIn(options: object, names: object): string | undefined {
  return Object.keys(options).find((name) => Object.hasOwn(names, name));
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

/**
 * At one path the first would answer, with its guards, whatever the second asks for.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function refuseAnother(own: DashboardOptions, others: readonly DashboardOptions[]): void {
  const path = plainPath(own);
  if (others.some((other) => plainPath(other) === path)) {
    throw misconfigured(
      WHERE,
      `there is another one at '${path}'. Give each a path of its own, such as path: '${DEFAULT_PATH}-2'.`,
    );
  }
}

/** As routers compare it. */
function plainPath({ path = DEFAULT_PATH }: DashboardOptions): string {
  return path.replaceAll(/^\/|\/$/g, '').toLowerCase();
}
