import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import type { OutboxHooks, OutboxMessage } from 'nestjs-idempotency/outbox';
import { availableDialects } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { openOutboxStage, soon, type OutboxStage } from '../support/outbox.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(availableDialects())('a row of the outbox on %s', (dialect) => {
  let stage: OutboxStage;
  let told: string[];
  const hooks: OutboxHooks = {
    onSent: ({ pattern }) => void told.push(`sent ${pattern}`),
    onFailed: ({ pattern, error }) => void told.push(`failed ${pattern}: ${String(error)}`),
    onParked: ({ pattern, error }) => void told.push(`parked ${pattern}: ${String(error)}`),
  };

  beforeEach(async () => {
    told = [];
    stage = await openOutboxStage(dialect);
  });
  afterEach(() => stage.close());

  it.each(['payload', 'headers'])(
    'that somebody has broken (%s) is parked, and holds up no other',
    async (column) => {
      const { outbox, dataSource } = await stage.start({ relay: false });
      const id = await outbox.emit('broken', 1, { headers: { a: 'b' } });
      await dataSource.query(`UPDATE idempotency_outbox SET ${column} = '{secret'`);
      await outbox.emit('whole', 2);

      const relay = await stage.start({ hooks, attempts: { max: 1 } });
      await soon(async () => expect(await relay.outbox.listParked()).toHaveLength(1));
      await soon(() => expect(told).toHaveLength(2));
      expect(told.sort()).toEqual([
        'parked broken: UnreadableError: Payload or headers of the row are no JSON.',
        'sent whole',
      ]);
      expect(await relay.outbox.listParked()).toMatchObject([{ id, lastError: 'UnreadableError' }]);
    },
  );

  it.each<[string, { keepSent?: '1h' }]>([
    ['deleted', {}],
    ['kept', { keepSent: '1h' }],
  ])(
    'that another relay has by now is told of by that one, where sent rows are %s',
    async (_, keeping) => {
      const gate = new TestGate();
      const sink = async ({ pattern }: OutboxMessage): Promise<void> => {
        await gate.pass();
        if (pattern === 'fails') throw new Error('told to fail');
      };
      const { app, outbox, dataSource } = await stage.start({
        sinks: { default: sink },
        hooks,
        pollInterval: '1h',
        attempts: { max: 1 },
        ...keeping,
      });
      await dataSource.transaction(async (manager) => {
        for (const pattern of ['lost', 'fails', 'own']) await outbox.emit(pattern, 1, { manager });
      });
      await gate.reached;
      const attempts = async () => (await stage.rows()).map((row) => Number(row.attempts));
      await soon(async () => expect(await attempts()).toEqual([1, 1, 1]));
      await dataSource.query(
        `UPDATE idempotency_outbox SET owner = '${'f'.repeat(32)}' WHERE pattern <> 'own'`,
      );
      gate.open();
      await soon(() => expect(told).not.toEqual([]));
      await app.close();
      expect(told).toEqual(['sent own']);
    },
  );
});
