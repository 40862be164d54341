import type { Sink } from 'nestjs-idempotency/outbox';

/** The sink as an unlucky network makes it: everything arrives that often. */
export function deliveredOften(sink: Sink, copies: number): Sink {
  return {
    open: (resolve) => sink.open?.(resolve),
    async publish(message) {
      await Promise.all(Array.from({ length: copies }, () => sink.publish(message)));
    },
  };
}
