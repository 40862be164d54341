import { parseArgs, type ParseArgsConfig } from 'node:util';
import { UsageError } from './failures.js';

const OPTIONS = {
  'data-source': { type: 'string', short: 'd' },
  url: { type: 'string' },
  table: { type: 'string' },
  schema: { type: 'string' },
  namespace: { type: 'string' },
  key: { type: 'string' },
  scope: { type: 'string' },
  operation: { type: 'string' },
  id: { type: 'string' },
  state: { type: 'string' },
  limit: { type: 'string' },
  after: { type: 'string' },
  result: { type: 'boolean' },
  verdict: { type: 'string' },
  ttl: { type: 'string' },
  outbox: { type: 'boolean' },
  'scope-index': { type: 'boolean' },
  'daily-partitions': { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  yes: { type: 'boolean', short: 'y' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsConfig['options'];

type OptionName = keyof typeof OPTIONS;

const DATABASE: readonly OptionName[] = ['data-source', 'url', 'table', 'schema', 'json'];
const RECORD: readonly OptionName[] = ['id', 'key', 'scope', 'operation', 'namespace'];

const ALLOWED = {
  list: ['state', 'scope', 'limit', 'after'],
  show: [...RECORD, 'result'],
  forget: [...RECORD, 'yes'],
  resolve: [...RECORD, 'verdict', 'ttl', 'yes'],
  redrive: [...RECORD, 'yes'],
  cleanup: [],
  stats: [],
  migrate: ['outbox', 'scope-index', 'daily-partitions', 'dry-run'],
} as const satisfies Record<string, readonly OptionName[]>;

export type CommandName = keyof typeof ALLOWED;
export type Values = Readonly<ReturnType<typeof parse>['values']>;

export const USAGE = `Usage: nestjs-idempotency <command> (-d <data-source file> | --url <url>) [options]

Commands
  list     live records, page by page      --state --scope --limit --after
  show     one record                      <record> --result (what retries get)
  forget   remove a record, so that the next request with its key runs
                                           <record> --yes
  resolve  say what became of an uncertain operation
                                           <record> --verdict --ttl --yes
  redrive  let a parked operation begin anew
                                           <record> --yes
  cleanup  delete expired records
  stats    records by state, what is expired, sizes
  migrate  create or change the table      --outbox --scope-index --daily-partitions --dry-run

<record>   --id <id of list>, or --key with --scope, --operation and --namespace as in the application
Database   -d, --data-source: a file that exports a TypeORM DataSource
           --url: postgres://…, mysql://…, mariadb://… or sqlite:<file>
           --table, --schema: as given to typeOrmStore()
--verdict  absent | done | '{"result": …}' | '{"response": {"status": 201, "body": …}}'
--ttl      how long the outcome is kept: the ttl of the application, such as 24h
--json     JSON instead of text          --yes  do not ask`;

export interface CommandLine {
  readonly command: CommandName;
  readonly values: Values;
}

/**
 * `undefined` when help was asked for.
 *
 * @throws UsageError
 */
export function readCommandLine(args: readonly string[]): CommandLine | undefined {
  const { values, positionals } = parsed(args);
  const [command, ...more] = positionals;
  if (values.help === true || command === 'help') {
    return undefined;
  }
  if (command === undefined || !Object.hasOwn(ALLOWED, command)) {
    throw new UsageError(
      `${command === undefined ? 'There is no command' : `There is no command '${command}'`}. ` +
        `Write one of: ${Object.keys(ALLOWED).join(', ')}.`,
    );
  }
  if (more.length > 0) {
    throw new UsageError(`'${more.join(' ')}' is no option. Options begin with --.`);
  }
  const name = command as CommandName;
  const allowed: readonly string[] = [...DATABASE, ...ALLOWED[name]];
  const stray = Object.keys(values).find((option) => !allowed.includes(option));
  if (stray !== undefined) {
    throw new UsageError(`'${name}' has no option --${stray}. See --help.`);
  }
  return { command: name, values };
}

function parsed(args: readonly string[]) {
  try {
    return parse(args);
  } catch (error) {
    // what Node adds to its sentence is about arguments, of which no command has any
    const [said = ''] = (error as Error).message.split(/\.? To specify |\.?\n/);
    throw new UsageError(`${said.replace(/^Unknown/, 'There is no')}. See --help.`);
  }
}

function parse(args: readonly string[]) {
  return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
}
