import { Inject, Injectable, Logger } from '@nestjs/common';
import { describeCause } from './describe-cause.js';
import type { IdempotencyError } from './engine/errors.js';
import { IDEMPOTENCY_SETTINGS } from './idempotency.constants.js';
import type { ModuleSettings } from './idempotency.settings.js';

/** Tells hooks of what was turned away and, where somebody has to act, the log. */
@Injectable()
export class RefusalReport {
  private readonly logger = new Logger('Idempotency');
  private readonly reportedMisconfigured = new Set<string>();

  constructor(@Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings) {}

  /** @param byEngine the engine has told the hooks already */
  report(error: IdempotencyError, name: string, byEngine: boolean): void {
    if (!byEngine) {
      this.module.emit('onRejected', { handler: name, code: error.code });
    }
    switch (error.code) {
      case 'IDEMPOTENCY_STORE_UNAVAILABLE':
      case 'IDEMPOTENCY_RECORD_UNREADABLE':
      case 'IDEMPOTENCY_STEPS_CHANGED':
        return this.log(error, name);
      case 'IDEMPOTENCY_OUTCOME_UNCERTAIN':
        // somebody was to find out, and failed
        return error.cause === undefined ? undefined : this.log(error, name);
      case 'IDEMPOTENCY_MISCONFIGURED':
        // a client may provoke it, with a body of a type that nothing parses
        if (!this.reportedMisconfigured.has(name)) {
          this.reportedMisconfigured.add(name);
          this.log(error, name);
        }
        return;
      default:
    }
  }

  /** For what nobody is told of otherwise: the sender of an event does not wait for an answer. */
  log(error: IdempotencyError, name: string): void {
    this.logger.error(`${name}: ${error.code}${describeCause(error)}. ${error.message}`);
  }
}
