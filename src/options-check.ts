import { IdempotencyError } from './engine/errors.js';
import { show, type Check } from './option-values.js';

/** Where a sentence about the module's options begins. */
export const MODULE = 'IdempotencyModule';

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` that names the option, its value and what to write instead. */
export function checkEach(
  checks: Readonly<Record<string, Check>>,
  options: object,
  where: string,
  prefix = '',
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) {
      continue;
    }
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) {
      throw misconfigured(
        where,
        `there is no option '${prefix}${name}' (given: ${show(value)}). ` +
          `Write one of: ${Object.keys(checks).join(', ')}.`,
      );
    }
    const instead = check(value);
    if (instead !== undefined) {
      throw misconfigured(where, `option '${prefix}${name}' is ${show(value)}. ${instead}`);
    }
  }
}

export function misconfigured(where: string, sentence: string): IdempotencyError {
  return new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', `${where}: ${sentence}`);
}
