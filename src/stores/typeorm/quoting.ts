import type { DialectName } from './schema.js';

/** Names as they stand in a statement of one database. */
export interface Quoting {
  quoted(name: string): string;
  /** In the schema, where there is one. */
  path(name: string): string;
}

export function quoting(dialect: DialectName, schema?: string): Quoting {
  const quote = dialect === 'postgres' || dialect === 'sqlite' ? '"' : '`';
  const quoted = (name: string): string => quote + name.replaceAll(quote, quote + quote) + quote;
  const path = (name: string): string =>
    schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`;
  return { quoted, path };
}
