export function literal(text: string): string {
  // The E form means the same whatever `standard_conforming_strings` says.
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** A statement with expressions in the place of its parameters. */
export function filled(sql: string, values: readonly string[]): string {
  let position = 0;
  return sql.replaceAll('?', () => values[position++] as string);
}

/** As an expression of its own, wherever it comes from: it is hex. */
export function uuidLiteral(hex: string): string {
  return `'${hexOnly(hex)}'::uuid`;
}

/** @throws for what is no hex, and so could be anything else to the database */
export function hexOnly(hex: string): string {
  if (!/^[0-9a-f]*$/.test(hex)) {
    throw new Error('not hex');
  }
  return hex;
}

export function bytesLiteral(value: Uint8Array | null): string {
  return value === null ? 'NULL' : `decode('${toHex(value)}', 'hex')`;
}

export function textLiteral(text: string | null): string {
  return text === null
    ? 'NULL'
    : `convert_from(decode('${Buffer.from(text).toString('hex')}', 'hex'), 'UTF8')`;
}

function toHex({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}
