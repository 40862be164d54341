import type { Problem } from './verdict.js';

/** The problem of an answer, read only where it is one. */
export async function problemOf(
  status: number,
  contentType: unknown,
  text: () => Promise<unknown>,
): Promise<Problem | undefined> {
  if (status < 400 || !/^application\/problem\+json\b/i.test(String(contentType))) {
    return undefined;
  }
  try {
    return Object(JSON.parse(String(await text()))) as Problem;
  } catch {
    // cut or not JSON: the status has to do
    return undefined;
  }
}
