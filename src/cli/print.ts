export type Cell = string | number | Date | null | undefined;

/** Keys and scopes come from clients: what would move the cursor, or worse, is shown as an escape. */
export function printable(value: Cell): string {
  const text = value instanceof Date ? value.toISOString() : String(value ?? '');
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu, escaped);
}

export function json(value: unknown): string {
  return JSON.stringify(value, null, 2).replaceAll(/[\u007F-\u009F]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Columns under their names. */
export function table(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const lines = [columns, ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, at) => cell.padEnd(widths[at] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One line for each, without those that are not there. */
export function fields(entries: readonly (readonly [name: string, value: Cell])[]): string {
  const present = entries.filter(([, value]) => value !== null && value !== undefined);
  const width = Math.max(...present.map(([name]) => name.length));
  return present
    .map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`.trimEnd())
    .join('\n');
}
