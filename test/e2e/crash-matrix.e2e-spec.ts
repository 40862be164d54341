import { setTimeout as sleep } from 'node:timers/promises';
import { LEASE_MS, type Strike } from '../chaos/app/options.js';
import { blockedOn, cellsOn, type Cell } from '../chaos/crash-cells.js';
import { CrashStage, type Actor } from '../chaos/crash-stage.js';
import { availableDialects } from '../support/databases.js';
import { eventually, type RawResponse } from '../support/http.js';

const dialects = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);
/** For a machine that is busy; an answer comes once a lease is over. In milliseconds. */
const PATIENCE_MS = 15_000;

type Struck = Strike & Partial<Pick<Cell, 'intent'>> & Pick<Cell, 'path'>;

describe.each(dialects)('an operation that is struck: %s', (dialect) => {
  let stage: CrashStage;
  /** Some at a time, because they wait for leases; elsewhere the locks of who stands still may hold up the others. */
  const each = dialect === 'postgres' ? it.concurrent.each : it.each;

  beforeAll(async () => {
    stage = await CrashStage.open(dialect);
  });

  afterAll(() => stage.close());

  /** Strikes one run of an operation, and asks elsewhere until there is an answer. */
  async function strike(given: Struck, isAnswer: (response: RawResponse) => boolean) {
    const victim = await stage.victim();
    try {
      const seen = await strikeAt(victim, given, isAnswer);
      stage.keep(victim);
      return seen;
    } catch (error) {
      // it may still wait for its strike, or stand still
      victim.process.kill('SIGKILL');
      throw error;
    }
  }

  async function strikeAt(
    victim: Actor,
    { path, intent = {}, ...how }: Struck,
    isAnswer: (response: RawResponse) => boolean,
  ) {
    const placed = await stage.newOrder();
    const order = () => stage.order(stage.other, path, placed, intent);
    const { struck } = await stage.arm(victim, how);
    const first = stage.order(victim, path, placed, intent).catch(() => undefined);
    await struck;
    if (dialect === 'sqlite-file' && how.action === 'SIGSTOP') {
      // it may hold SQLite's one lock, and then nobody gets any further before it does
      await sleep(2 * LEASE_MS);
      victim.process.kill('SIGCONT');
    }
    let answer: RawResponse | undefined;
    await eventually(
      async () => {
        answer = await order();
        return isAnswer(answer);
      },
      'an answer on the other application',
      PATIENCE_MS,
    );
    victim.process.kill('SIGCONT');
    const late = await first;
    return { placed, answer: answer as RawResponse, late, again: await order() };
  }

  each(cellsOn(dialect))(
    '$mode mode, $action at $at',
    async ({ effectsAt, path, intent, at, action, pass = 1 }) => {
      const { placed, answer, late, again } = await strike(
        { path, intent, at, action, pass },
        ({ status }) => status === 201,
      );

      const { text } = answer;
      expect(again.text).toBe(text);
      expect(again.header('idempotent-replayed')).toBe('true');
      if (late?.status === 201) {
        expect(late.text).toBe(text);
      }
      const { nonce, charge } = JSON.parse(text) as { nonce: string; charge?: string };
      const attempts = await stage.charges(placed);
      const charges = attempts.filter(({ charged }) => charged).map((it) => it.charge);
      const ledger = await stage.ledger(placed);
      expect(charges).toEqual(effectsAt.includes('provider') ? [charge] : []);
      expect(ledger.map((row) => row.nonce)).toEqual(effectsAt.includes('ledger') ? [nonce] : []);
      expect([...attempts, ...ledger].map((run) => run.nonce)).toContain(nonce);
      expect(await stage.lostStock(placed)).toBe(0);
    },
  );

  each(blockedOn(dialect))(
    'where nothing may be repeated, SIGKILL at $at',
    async ({ at, charges, isUncertain }) => {
      const { placed, answer, again } = await strike(
        { path: '/block', at, action: 'SIGKILL' },
        ({ status, text }) => status === 201 || text.includes('IDEMPOTENCY_OUTCOME_UNCERTAIN'),
      );

      expect(answer.status).toBe(isUncertain ? 409 : 201);
      expect(again.text).toBe(answer.text);
      const attempts = await stage.charges(placed);
      expect(attempts).toHaveLength(charges);
      if (!isUncertain) {
        expect(answer.text).toContain(attempts[0]?.charge);
      }
    },
  );

  each(blockedOn(dialect))('where nothing may be repeated, SIGSTOP at $at', async ({ at }) => {
    const { placed, answer, late, again } = await strike(
      { path: '/block', at, action: 'SIGSTOP' },
      ({ status, text }) => status === 201 || text.includes('IDEMPOTENCY_OUTCOME_UNCERTAIN'),
    );

    const told = [answer, late, again].filter((response) => response?.status === 201);
    const attempts = await stage.charges(placed);
    expect(attempts.length).toBeLessThanOrEqual(1);
    expect(new Set(told.map((response) => response?.text)).size).toBeLessThanOrEqual(1);
    for (const response of told) {
      expect(response?.text).toContain(attempts[0]?.charge);
    }
  });
});
