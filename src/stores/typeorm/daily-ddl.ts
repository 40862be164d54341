import { LEAF_SETTINGS, firstIdOf } from './daily-partitions.js';
import { scopeIndexStatements } from './ddl.js';
import { literal } from './postgres-text.js';
import { quoting } from './quoting.js';
import { misconfigured, type DialectName, type TableNames } from './schema.js';

/** Earlier days have no partition of their own after the migration, unless something of them is kept. */
const DAYS_BACK = 31;
const DAYS_AHEAD = 7;

/** Divides the table by the day of its ids, with every row that is in it. One message, and so one transaction. */
export function divideStatements(dialect: DialectName, names: TableNames): string[] {
  checkDialect(dialect);
  const { table, plain } = names;
  const { path } = quoting('postgres', plain.schema);
  const part = (suffix: string, bounds: string): string =>
    `CREATE TABLE ${path(`${plain.table}_${suffix}`)} PARTITION OF ${table} ${bounds} ${LEAF_SETTINGS}`;
  return [
    rebuilt(names, 'PARTITION BY RANGE (id)', [
      part('undated', `FOR VALUES FROM (MINVALUE) TO ('${firstIdOf(1)}')`),
      part('default', 'DEFAULT'),
      createDays(names),
    ]),
  ];
}

/** Makes one piece of it again. */
export function uniteStatements(dialect: DialectName, names: TableNames): string[] {
  checkDialect(dialect);
  return [rebuilt(names, LEAF_SETTINGS, [])];
}

function rebuilt(names: TableNames, layout: string, parts: readonly string[]): string {
  const { table, plain, index } = names;
  const { quoted, path } = quoting('postgres', plain.schema);
  const old = path(`${plain.table}_old`);
  const renamed = ['pkey', 'sweep', 'scope'].map(
    (suffix) =>
      `ALTER INDEX IF EXISTS ${path(`${plain.table}_${suffix}`)} ` +
      `RENAME TO ${quoted(`${plain.table}_old_${suffix}`)}`,
  );
  const scopeIndex = { name: quoted(plain.scopeIndex), path: path(plain.scopeIndex) };
  const [indexScope] = scopeIndexStatements('postgres', { ...names, scopeIndex });
  return [
    `ALTER TABLE ${table} RENAME TO ${quoted(`${plain.table}_old`)}`,
    ...renamed,
    `CREATE TABLE ${table} (LIKE ${old} INCLUDING DEFAULTS, PRIMARY KEY (id)) ${layout}`,
    `CREATE INDEX ${index} ON ${table} (sweep_at)`,
    block(
      `IF to_regclass(${literal(path(`${plain.table}_old_scope`))}) IS NOT NULL THEN ${indexScope}; END IF;`,
    ),
    ...parts,
    `INSERT INTO ${table} SELECT * FROM ${old}`,
    grantAgain(table, old),
    `DROP TABLE ${old}`,
  ].join(';\n');
}

function createDays(names: TableNames): string {
  const { table, plain } = names;
  const { quoted, path } = quoting('postgres', plain.schema);
  const schema = plain.schema === undefined ? '' : `${quoted(plain.schema)}.`;
  return block(
    `FOR n IN today - ${DAYS_BACK} .. today + ${DAYS_AHEAD} LOOP
      first_id := rpad(lpad(to_hex(n), 4, '0'), 32, '0')::uuid;
      next_id := rpad(lpad(to_hex(n + 1), 4, '0'), 32, '0')::uuid;
      IF n >= today OR EXISTS (
        SELECT FROM ${path(`${plain.table}_old`)} WHERE id >= first_id AND id < next_id
      ) THEN
        EXECUTE format('CREATE TABLE %s%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L) ${LEAF_SETTINGS}',
          ${literal(schema)}, ${literal(plain.table)} || to_char(date '1970-01-01' + n, '_YYYYMMDD'),
          ${literal(table)}, first_id, next_id);
      END IF;
    END LOOP;`,
    `today int := floor(extract(epoch FROM clock_timestamp()) / 86400); first_id uuid; next_id uuid;`,
  );
}

/** What others may do with the table, who may not be its owner. */
function grantAgain(table: string, old: string): string {
  return block(
    `FOR granted IN SELECT a.privilege_type AS what, a.is_grantable,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
      FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = ${literal(old)}::regclass AND a.grantee <> c.relowner
    LOOP
      EXECUTE format('GRANT %s ON %s TO %s', granted.what, ${literal(table)}, granted.who)
        || CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
    END LOOP;`,
    'granted record;',
  );
}

function block(statements: string, declarations = ''): string {
  return `DO $daily$ DECLARE ${declarations} BEGIN ${statements} END $daily$`;
}

function checkDialect(dialect: DialectName): void {
  if (dialect !== 'postgres') {
    throw misconfigured(
      `Daily partitions are for PostgreSQL, and this is ${dialect}. Remove \`dailyPartitions\` from ` +
        'idempotencyMigrations().',
    );
  }
}
