import type { Answer } from './client.js';

export const times = <T>(count: number, what: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, what));

export const statuses = (answers: readonly Answer[]): number[] =>
  answers.map(({ status }) => status).sort((a, b) => a - b);

export const replayed = ({ headers }: Answer): boolean =>
  headers.get('Idempotent-Replayed') === 'true';

/** Exactly one ran; each of the others got its answer, or was told to come back later. */
export function expectOneRun(answers: readonly Answer[]): Answer {
  const won = answers.filter((answer) => answer.status < 300 && !replayed(answer));
  expect(won).toHaveLength(1);
  const [winner] = won as [Answer];
  for (const other of answers.filter((answer) => answer !== winner)) {
    if (replayed(other)) {
      expect([other.status, other.text]).toEqual([winner.status, winner.text]);
    } else {
      expect([other.status, other.json.code]).toEqual([409, 'IDEMPOTENCY_IN_PROGRESS']);
      expect(Number(other.headers.get('Retry-After'))).toBeGreaterThanOrEqual(1);
    }
  }
  return winner;
}
