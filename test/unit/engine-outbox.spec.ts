import type { Attempt } from '../../src/engine/attempt.js';
import type { OutgoingOptions } from '../../src/engine/outgoing.js';
import { Bench, RELEASE, pass, useFakeTime } from '../support/engine/bench.js';

useFakeTime();

/** A bench whose messages are kept as `pattern id`. */
async function withOutbox() {
  const bench = await Bench.started();
  const written: { pattern: string; id: string; payload: unknown }[] = [];
  bench.engine.outgoing = {
    async emit(pattern: string, payload: unknown, options: OutgoingOptions = {}) {
      written.push({ pattern, payload, id: options.id! });
      return options.id!;
    },
  };
  return { bench, written };
}

const failing = (work: (attempt: Attempt) => Promise<unknown>) => async (attempt: Attempt) => {
  await work(attempt);
  return RELEASE;
};

describe('the messages of an attempt', () => {
  it('have ids that every attempt of the key gives them again', async () => {
    const { bench, written } = await withOutbox();
    const work = failing(async ({ outbox }) => {
      await outbox.emit('a', 1);
      await outbox.emit('a', 2);
      await outbox.emit('b', 3);
    });
    await bench.work(work);
    await bench.work(work);
    const ids = written.map(({ id }) => id);
    expect(ids.slice(3)).toEqual(ids.slice(0, 3));
    expect(new Set(ids).size).toBe(3);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  it('have others for another key', async () => {
    const { bench, written } = await withOutbox();
    const work = failing(({ outbox }) => outbox.emit('a', 1));
    await bench.work(work);
    await bench.work(work, { key: 'other' });
    expect(written[0]!.id).not.toBe(written[1]!.id);
  });

  it('have the id that they are given, and the others theirs all the same', async () => {
    const { bench, written } = await withOutbox();
    await bench.work(failing(({ outbox }) => outbox.emit('a', 1, { id: 'mine' })));
    await bench.work(failing(({ outbox }) => outbox.emit('a', 1)));
    expect(await bench.work(failing(({ outbox }) => outbox.emit('a', 1, { id: 'mine' })))).toBe(
      'executed',
    );
    expect(written.map(({ id }) => id === 'mine')).toEqual([true, false, true]);
  });

  it('are counted for themselves in each step, which a retry may skip', async () => {
    const { bench, written } = await withOutbox();
    const work = failing(async (attempt) => {
      await attempt.step('one', () => attempt.outbox.emit('a', 'in one'));
      await attempt.step('two', () => attempt.outbox.emit('a', 'in two'));
      await attempt.outbox.emit('a', 'outside');
    });
    await bench.work(work);
    await bench.work(work);
    expect(written.map(({ payload }) => payload)).toEqual([
      'in one',
      'in two',
      'outside',
      'outside',
    ]);
    expect(new Set(written.map(({ id }) => id)).size).toBe(3);
    expect(written[3]!.id).toBe(written[2]!.id);
  });

  it('are refused without an outbox, in a sentence that says what to import', async () => {
    const bench = await Bench.started();
    let refusal: unknown;
    await bench.work(
      failing(({ outbox }) => outbox.emit('a', 1).catch((error: unknown) => (refusal = error))),
    );
    expect(refusal).toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('Import OutboxModule.forRoot('),
    });
  });

  it('are refused once the attempt has lost its lease, or is over', async () => {
    const { bench, written } = await withOutbox();
    const running = await bench.begin({ maxDurationMs: 6_000 });
    await pass(20_000);
    await expect(running.attempt.outbox.emit('a', 1)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_IN_PROGRESS',
    });
    running.end(RELEASE);
    await running.answer;
    await expect(running.attempt.outbox.emit('a', 1)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
    });
    expect(written).toEqual([]);
  });
});
