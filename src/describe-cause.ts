/** The kind and code of what lies beneath an error, never its text: a driver's text may quote data. */
export function describeCause({ cause }: Error): string {
  if (!(cause instanceof Error)) {
    return '';
  }
  const { code } = cause as { code?: unknown };
  return ` (${cause.name}${typeof code === 'string' ? ` ${code}` : ''})`;
}
