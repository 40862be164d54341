import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

export interface KeptPipes {
  /** Whether a stream that has not ended yet is piped into the response. */
  readonly isPiping: boolean;
  stop(): void;
}

/**
 * When a client hangs up, Node stops piping to its response, and adapters destroy the stream. While the
 * response is held, its bytes are still wanted: what was piped goes on to its end, and is destroyed
 * after the hold.
 */
export function keepPiping(response: ServerResponse): KeptPipes {
  /** How to stop keeping each stream. */
  const kept = new Map<Readable, () => void>();

  const onPipe = (source: Readable): void => {
    if (!kept.has(source)) {
      kept.set(
        source,
        postponeDestroy(source, () => isGone(response)),
      );
    }
  };
  const onUnpipe = (source: Readable): void => {
    if (isGone(response) && kept.has(source) && !source.readableEnded) {
      process.nextTick(() => kept.has(source) && source.pipe(response));
    }
  };
  response.on('pipe', onPipe).on('unpipe', onUnpipe);

  return {
    get isPiping() {
      return [...kept.keys()].some((source) => !source.readableEnded && !source.destroyed);
    },
    stop() {
      response.off('pipe', onPipe).off('unpipe', onUnpipe);
      const restores = [...kept.values()];
      kept.clear();
      restores.forEach((restore) => restore());
    },
  };
}

/** Until the answered function is called. A stream that fails is destroyed at once all the same. */
function postponeDestroy(source: Readable, isPostponed: () => boolean): () => void {
  const before = Object.getOwnPropertyDescriptor(source, 'destroy');
  const destroy = source.destroy;
  let isWanted = false;
  source.destroy = (error) => {
    if (error || !isPostponed()) {
      return destroy.call(source, error);
    }
    isWanted = true;
    return source;
  };
  return () => {
    if (before === undefined) {
      delete (source as Partial<Readable>).destroy;
    } else {
      Object.defineProperty(source, 'destroy', before);
    }
    if (isWanted) {
      source.destroy();
    }
  };
}

function isGone(response: ServerResponse): boolean {
  return response.destroyed || response.req.socket?.destroyed === true;
}
