import type { Failpoint } from '../../src/engine/failpoints.js';
import type { Intent, Strike } from '../chaos/app/options.js';
import { CrashStage } from '../chaos/crash-stage.js';
import { availableDialects } from '../support/databases.js';
import { eventually, type RawResponse } from '../support/http.js';

const dialects = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);

/** Every point that an operation passes, and what makes it pass. */
const points: [at: Failpoint, intent: Partial<Intent>][] = [
  ['claim:before', {}],
  ['claim:after', {}],
  ['handler:before', {}],
  ['renew', { holdMs: 300 }],
  ['handler:after', {}],
  ['complete:before', {}],
  ['complete:after', {}],
  ['release:before', { failsFirst: true }],
  ['respond', {}],
];
const actions: Strike['action'][] = ['SIGKILL', 'SIGSTOP', 'throw'];
/** Where most can go wrong: after the claim, between effect and record, after the record. */
const corners: Failpoint[] = ['claim:after', 'complete:before', 'complete:after'];

describe.each(dialects)('an operation that is struck: %s', (dialect) => {
  let stage: CrashStage;

  beforeAll(async () => {
    stage = await CrashStage.open(dialect);
  });

  afterAll(() => stage.close());

  const cells = points
    .filter(([at]) => dialect === 'postgres' || corners.includes(at))
    .flatMap(([at, intent]) => actions.map((action) => ({ at, action, intent })));

  it.each(cells)('lease mode, $action at $at', async ({ at, action, intent }) => {
    const key = stage.newKey();
    const order = () => stage.order(stage.other, '/lease', key, intent);
    const victim = await stage.victim();
    const { struck } = await stage.arm(victim, { at, action });
    const first = stage.order(victim, '/lease', key, intent).catch(() => undefined);
    await struck;

    let answer: RawResponse | undefined;
    await eventually(
      async () => {
        answer = await order();
        return answer.status === 201;
      },
      'an answer on the other application',
      5_000,
    );
    victim.process.kill('SIGCONT');
    const late = await first;
    const again = await order();

    const { text } = answer as RawResponse;
    expect(again.text).toBe(text);
    expect(again.header('idempotent-replayed')).toBe('true');
    if (late?.status === 201) {
      expect(late.text).toBe(text);
    }
    const attempts = await stage.charges(key);
    expect(attempts.filter(({ charged }) => charged)).toHaveLength(1);
    expect(text).toContain(attempts[0]?.charge);
    expect(attempts.map(({ nonce }) => text.includes(nonce))).toContain(true);
  });
});
