import { Logger } from '@nestjs/common';
import { escapeSentence } from './engine/escape-report.js';
import type { Escape } from './engine/store.js';
import type { AttemptEvent, Emit, IdempotencyEvent } from './engine/events.js';

/** What somebody should learn of even where no hook is set: work without protection, or without a record. */
export function logged(emit: Emit): Emit {
  const logger = new Logger('Idempotency');
  /** It would be the same for every request. */
  const told = new Set<string>();
  return (name, event) => {
    if (name === 'onUnprotected') {
      const { handler } = event as IdempotencyEvent;
      logger.warn(`${handler}: ran without protection, because the store did not answer.`);
    }
    if (name === 'onEscaped') {
      const { handler, escape } = event as IdempotencyEvent & { escape: Escape };
      if (!told.has(handler + escape)) {
        told.add(handler + escape);
        logger.warn(`${handler} ${escapeSentence(escape)}`);
      }
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
