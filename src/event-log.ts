import { Logger } from '@nestjs/common';
import type { AttemptEvent, Emit, IdempotencyEvent } from './engine/events.js';

/** What somebody should learn of even where no hook is set: work without protection, or without a record. */
export function logged(emit: Emit): Emit {
  const logger = new Logger('Idempotency');
  return (name, event) => {
    if (name === 'onUnprotected') {
      const { handler } = event as IdempotencyEvent;
      logger.warn(`${handler}: ran without protection, because the store did not answer.`);
    }
    if (name === 'onRecordingFailed') {
      const { handler, record, final } = event as AttemptEvent & { final: boolean };
      logger.warn(
        `${handler}: its work is done, but its outcome could not be recorded` +
          (final ? `. Look at record ${record}.` : ' yet; this goes on in the background.'),
      );
    }
    emit(name, event);
  };
}
