import type { AnyMethodOptions } from './method-options.js';

/** Metadata key of `@Idempotent({ key })` on a method. */
export const IDEMPOTENT_METHOD_METADATA = 'nestjs-idempotency:method';

/** What sets decorators of methods apart. */
export interface MethodEntry {
  /** As it is written above the method. */
  readonly decorator: string;
  /** Answers a call of which nothing was run; by default what was thrown is thrown on. */
  readonly onRefusal?: (refusal: unknown, args: readonly unknown[]) => Promise<unknown>;
}

/** What `@Idempotent({ key })` and its kin leave on a method. */
export interface IdempotentMethodMetadata extends MethodEntry {
  /** Replaced when the method is decorated again. */
  options: AnyMethodOptions;
  /** The prototype that declares the method; the class itself for a static one. */
  readonly target: object;
  /** The class's name when it was declared. */
  readonly className: string;
  readonly property: string | symbol;
}

export function methodMetadata(method: object): IdempotentMethodMetadata | undefined {
  return Reflect.getOwnMetadata(IDEMPOTENT_METHOD_METADATA, method) as
    IdempotentMethodMetadata | undefined;
}

/**
 * What the method's records are kept under. The class is the one of the instance, not the one that declares
 * the method: two handlers that inherit it from one base class do two things.
 */
export function operationName(
  { target, className, property }: IdempotentMethodMetadata,
  type: unknown,
): string {
  const declaring: unknown = typeof target === 'function' ? target : target.constructor;
  const inherited = typeof type === 'function' && type !== declaring && type.name !== '';
  return `${inherited ? type.name : className}.${String(property)}`;
}
