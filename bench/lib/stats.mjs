export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

export const median = (values) => percentile(values, 0.5);

/** The rounds of one variant in one line: latencies over all rounds, the rest of the median round. */
export function summary(rounds) {
  const latencies = rounds.flatMap((round) => round.latencies);
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    perSecond: spread(rounds.map((round) => round.perSecond)),
    cpuMs: median(rounds.map((round) => round.cpuMs ?? NaN)),
    statuses: addStatuses(rounds),
  };
}

/** Throughput of each round against the same round of the base: what disturbed one disturbed both. */
export function ratio(rounds, base) {
  return spread(rounds.map((round, index) => round.perSecond / base[index].perSecond));
}

export function spread(values) {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

export function addStatuses(rounds) {
  const sum = {};
  for (const { statuses } of rounds) {
    for (const [status, count] of Object.entries(statuses)) {
      sum[status] = (sum[status] ?? 0) + count;
    }
  }
  return sum;
}

/** A number that was measured on requests of which some failed means nothing. */
export function expectOnly(status, rounds) {
  const statuses = addStatuses(rounds);
  const others = Object.keys(statuses).filter((other) => Number(other) !== status);
  if (others.length > 0) {
    throw new Error(`Expected only ${status}, got ${JSON.stringify(statuses)}.`);
  }
}
