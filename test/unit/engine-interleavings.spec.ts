import { jest } from '@jest/globals';
import fc from 'fast-check';
import { POLICY } from '../support/engine/bench.js';
import { World, type Plan } from '../support/engine/world.js';

const LEASE = POLICY.leaseMs;

jest.setTimeout(120_000); // for a machine that is busy; alone it takes a few seconds

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
  jest.spyOn(Math, 'random').mockReturnValue(0.5); // so that a schedule can be run again
});
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

const plans = (ends: readonly Plan['end'][], more: Partial<Plan> = {}) =>
  fc.array(
    fc
      .record<Plan>({
        end: fc.constantFrom(...ends),
        onConcurrent: fc.constantFrom('reject', 'wait'),
        losesClaimReply: fc.boolean(),
        losesSettleReply: fc.boolean(),
      })
      .map((plan) => ({ ...plan, ...more })),
    { minLength: 2, maxLength: 3 },
  );

async function played(
  scheduler: fc.Scheduler,
  processes: readonly Plan[],
  { deaths = [], ticks = [] }: { deaths?: readonly number[]; ticks?: readonly number[] } = {},
): Promise<World> {
  const world = new World(scheduler);
  for (const [index, plan] of processes.entries()) {
    await world.start(index, plan);
  }
  deaths.forEach((index) => world.kill(index));
  ticks.forEach((ms) => world.tick(ms));
  await world.play(processes.length);
  return world;
}

/** Who dies, and how time passes, while requests are under way. */
const troubles = fc.record({
  deaths: fc.array(fc.nat({ max: 2 }), { maxLength: 3 }),
  ticks: fc.array(fc.constantFrom(100, LEASE / 3, LEASE / 2, LEASE, 3 * LEASE), { maxLength: 6 }),
});

/** An outcome as a client sees it replayed. */
const replayOf = (text: string): string => text.replace('outcome', 'replayed');

describe('two or three requests of one key, in every order', () => {
  it('have one effect and one answer while nobody dies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), plans(['complete']), async (scheduler, processes) => {
        const world = await played(scheduler, processes);
        const [owner] = world.effects;
        expect(world.effects).toHaveLength(1);
        for (const [index, text] of world.answers) {
          const { onConcurrent } = processes[index] as Plan;
          expect([
            index === owner ? 'executed' : `replayed ${owner}`,
            ...(onConcurrent === 'reject' && index !== owner ? ['IDEMPOTENCY_IN_PROGRESS'] : []),
          ]).toContain(text);
        }
        expect(await world.afterwards()).toBe(`replayed ${owner}`);
      }),
      { numRuns: 500 },
    );
  });

  it('have one effect that counts when attempts fail and give the key back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        plans(['complete', 'release']),
        async (scheduler, processes) => {
          const world = await played(scheduler, processes);
          const done = world.effects.filter((index) => processes[index]?.end === 'complete');
          expect(done.length).toBeLessThanOrEqual(1);
          // one after the other: a run begins only when the one before it has been settled
          expect(new Set(world.effects).size).toBe(world.effects.length);
          expect(await world.afterwards()).toBe(
            done.length === 1 ? `replayed ${done[0]}` : 'executed',
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('have one recorded outcome whoever dies, pauses or outlives a lease, and nothing stays stuck', async () => {
    const ends = plans(['complete', 'complete', 'release', 'uncertain', 'tombstone', 'throw']);
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), ends, troubles, async (scheduler, processes, trouble) => {
        const world = await played(scheduler, processes, trouble);
        const outcomes = world.recorded.filter(({ text }) => text !== 'release');
        // sent again after its reply was lost, one outcome may be taken twice, from the same owner
        expect(new Set(outcomes.map(({ owner }) => owner)).size).toBeLessThanOrEqual(1);
        expect(world.recorded.filter(({ stale }) => stale)).toEqual([]);
        const outcome = outcomes[0]?.text;
        for (const [index, text] of world.answers) {
          const { end } = processes[index] as Plan;
          if (text.startsWith('replayed')) {
            expect(text).toBe(replayOf(outcome as string));
          }
          if (text === 'executed' && end === 'complete') {
            expect(outcome).toBe(`outcome ${index}`);
          }
          if (text === 'executed' && end === 'tombstone') {
            expect(outcome).toBe('outcome unkept');
          }
        }
        const afterwards = await world.afterwards();
        switch (outcome) {
          case undefined:
            return expect(afterwards).toBe('executed');
          case 'uncertain':
            return expect(afterwards).toBe('IDEMPOTENCY_OUTCOME_UNCERTAIN');
          case 'outcome unkept':
            return expect(afterwards).toBe('IDEMPOTENCY_RESULT_UNAVAILABLE');
          default:
            return expect(afterwards).toBe(replayOf(outcome));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('have one effect at most, whoever dies, where unknown outcomes block', async () => {
    const blocked = { onUnknownOutcome: 'block' } as const;
    const ends = plans(['complete', 'throw', 'uncertain'], blocked);
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), ends, troubles, async (scheduler, processes, trouble) => {
        const world = await played(scheduler, processes, trouble);
        expect(world.effects.length).toBeLessThanOrEqual(1);
        const afterwards = await world.afterwards(blocked);
        // nothing runs on top of an effect; without one, a key may still be blocked
        expect(afterwards === 'executed' && world.effects.length > 0).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('never run a step again that has answered, whoever dies or outlives a lease', async () => {
    const stepped = { isStep: true, onUnknownOutcome: 'rerun' } as const;
    const ends = plans(['complete', 'release', 'release', 'throw', 'uncertain'], stepped);
    let resumed = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), ends, troubles, async (scheduler, processes, trouble) => {
        const world = await played(scheduler, processes, trouble);
        const afterwards = await world.afterwards(stepped);
        if (world.effectsAtFirstStep !== undefined) {
          expect(world.effects).toHaveLength(world.effectsAtFirstStep);
          resumed += afterwards === 'executed' ? 1 : 0;
        }
      }),
      { numRuns: 500 },
    );
    expect(resumed).toBeGreaterThan(0);
  });
});
