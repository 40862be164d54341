import type { DataSource } from 'typeorm';
import { readCommandLine, USAGE, type CommandName } from './command-line.js';
import { cleanup } from './commands/cleanup.js';
import { list } from './commands/list.js';
import { migrate, migrationsOf } from './commands/migrate.js';
import { forget, redrive, resolve } from './commands/repair.js';
import { show } from './commands/show.js';
import { stats } from './commands/stats.js';
import { connect } from './data-source.js';
import { sentenceOf, UsageError } from './failures.js';
import { Session } from './session.js';

const COMMANDS: Record<CommandName, (session: Session) => Promise<void>> = {
  list,
  show,
  forget,
  resolve,
  redrive,
  cleanup,
  stats,
  migrate,
};

/** Answers the exit code: 0 done, 1 not there or refused, 2 not understood. */
export async function run(args: readonly string[]): Promise<0 | 1 | 2> {
  let dataSource: DataSource | undefined;
  try {
    const line = readCommandLine(args);
    if (line === undefined) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    const { command, values } = line;
    dataSource = await connect(values, command === 'migrate' ? migrationsOf(values) : []);
    await COMMANDS[command](new Session(values, dataSource));
    return 0;
  } catch (error) {
    process.stderr.write(`${sentenceOf(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  } finally {
    await dataSource?.destroy().catch(() => undefined);
  }
}
