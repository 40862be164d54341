import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { compileInto } from '../support/compile.mjs';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { hasTerminal, onTerminal, type OnTerminal } from '../support/terminal.js';
import { claimed } from '../support/typeorm-stores.js';

/** A child process on a busy machine. */
const PATIENCE_MS = 180_000;
const QUESTION = '[y/N]';

type Ended = { readonly code: number | null; readonly shown: string };

(hasTerminal() ? describe : describe.skip)('nestjs-idempotency on a terminal', () => {
  let home: string;
  let database: TestDatabase;
  let store: TypeOrmStore;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'idempotency-terminal-'));
    await compileInto(home, ['src']);
    database = await createTestDatabase('sqlite-file');
    store = new TypeOrmStore(await database.open({ synchronize: true }));
    await store.init();
  }, PATIENCE_MS);
  afterAll(async () => {
    await database?.drop();
    await rm(home, { recursive: true });
  });

  function cli(...args: string[]): OnTerminal {
    const { database: file } = database.options as { database: string };
    const bin = join(home, 'src/cli/main.js');
    return onTerminal([process.execPath, bin, ...args, '--url', `sqlite:${file}`], home);
  }
  /** Presses `keys` when it is asked. */
  async function answered(keys: string, ...args: string[]): Promise<Ended> {
    const terminal = cli(...args);
    await terminal.shows(QUESTION);
    terminal.press(keys);
    return terminal.ended;
  }
  /** The record of a key whose outcome nobody knows, or that is parked. */
  async function record(key: string, state: 'uncertain' | 'parked'): Promise<string> {
    const claim = await claimed(store, { key });
    if (state === 'parked') await store.park(claim, null);
    else await store.markUncertain(claim);
    return claim.id;
  }

  it.each([
    ['no', 'n\r'],
    ['nothing', '\r'],
    ['something else', 'yeah\r'],
    ['Ctrl-C', '\x03'],
    ['Ctrl-D', '\x04'],
  ])(
    'changes nothing when it is answered %s',
    async (_, keys) => {
      const id = await record(`no-${keys}`, 'uncertain');
      const { code, shown } = await answered(keys, 'forget', '--id', id);
      expect(code).toBe(1);
      expect(shown).toContain('Nothing was changed.');
      expect((await store.find(id))?.state).toBe('uncertain');
    },
    PATIENCE_MS,
  );

  it.each([
    ['forget', [], 'uncertain', 'y', 'forgotten'],
    ['resolve', ['--verdict', 'absent'], 'uncertain', 'YES', 'resolved'],
    ['redrive', [], 'parked', 'yes', 'redriven'],
  ] as const)(
    'asks before it does %s, and does it when it is answered yes',
    async (command, more, state, yes, done) => {
      const id = await record(command, state);
      expect((await answered('n\r', command, '--id', id, ...more)).code).toBe(1);
      expect((await store.find(id))?.state).toBe(state);
      const { code, shown } = await answered(`${yes}\r`, command, '--id', id, ...more);
      // which record it is about, and what was done
      expect(shown).toContain(`${id} (`);
      expect(shown).toContain(`${done} ${id}`);
      expect(code).toBe(0);
      expect(await store.find(id)).toBeNull();
    },
    PATIENCE_MS,
  );

  it(
    'does not ask with --yes',
    async () => {
      const id = await record('sure', 'uncertain');
      const { code, shown } = await cli('forget', '--id', id, '--yes').ended;
      expect(shown).not.toContain(QUESTION);
      expect(code).toBe(0);
    },
    PATIENCE_MS,
  );
});
