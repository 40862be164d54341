/** What the command line says when it was written wrongly: the sentence names what to do. */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { run } from '../../src/cli/run.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'idempotency-cli-'));
});
afterAll(() => rm(home, { recursive: true }));

/** What it writes to standard error, and its exit code. */
async function said(...args: string[]): Promise<[sentence: string, code: number]> {
  let text = '';
  const written = jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    const code = await run(args);
    return [text.trimEnd(), code];
  } finally {
    written.mockRestore();
  }
}

/** An empty database. */
const shop = (): string => {
  const path = join(home, 'shop.sqlite');
  writeFileSync(path, '');
  return path;
};

const file = async (name: string, code: string): Promise<string> => {
  const path = join(home, name);
  await writeFile(path, code);
  return path;
};

describe('an option', () => {
  it.each([
    [['list', '--stat', 'x'], `There is no option '--stat'. See --help.`],
    [['list', '-x'], `There is no option '-x'. See --help.`],
    [['list', '-d'], `Option '-d, --data-source <value>' argument missing. See --help.`],
    [['show', '--result=yes'], `Option '--result' does not take an argument. See --help.`],
    [['list', '-d', '--url'], `Option '-d' argument is ambiguous. See --help.`],
  ])('%j', async (args, sentence) => {
    expect(await said(...args)).toEqual([sentence, 2]);
  });
});

it.each(['soon', '86400000', '-1h'])('--ttl %s', async (ttl) => {
  const record = ['--id', '0'.repeat(32), '--verdict', 'done'];
  const answer = await said('resolve', ...record, `--ttl=${ttl}`, '--url', `sqlite:${shop()}`);
  expect(answer).toEqual([
    `--ttl is '${ttl}'. Write a number and its unit, such as 30m, 24h or 7d.`,
    2,
  ]);
});

it('a table that is missing', async () => {
  const [sentence, code] = await said('stats', '--url', `sqlite:${shop()}`);
  expect(sentence).toMatch(
    /is missing or older .* From here: check --table and --schema, then run the command migrate \(Error SQLITE_ERROR\)\.$/,
  );
  expect(code).toBe(1);
});

describe('the file of the DataSource', () => {
  it('that imports what is not there', async () => {
    // Jest resolves modules itself, and gives its errors another code
    const path = await file(
      'import.mjs',
      `throw Object.assign(new Error(), { code: 'ERR_MODULE_NOT_FOUND' })`,
    );
    expect(await said('list', '-d', path)).toEqual([
      `'${path}' cannot be loaded (Error ERR_MODULE_NOT_FOUND). Check its path and its imports.`,
      1,
    ]);
  });

  it('that throws: why is told by Node, and not here, where it may be logged', async () => {
    const path = await file('throws.mjs', `throw new Error('postgres://me:secret@db is wrong')`);
    expect(await said('list', '-d', path)).toEqual([
      `'${path}' cannot be loaded (Error). To see why, run: node ${path}`,
      1,
    ]);
  });

  it('whose driver is not installed', async () => {
    const typeorm = import.meta.resolve('typeorm');
    const path = await file(
      'driver.mjs',
      `import { DataSource } from '${typeorm}'; export default new DataSource({ type: 'mssql' });`,
    );
    const [sentence, code] = await said('list', '-d', path);
    expect(sentence).toContain('Please run "npm install mssql"');
    expect(code).toBe(1);
  });
});
