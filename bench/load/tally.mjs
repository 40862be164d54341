/** Collects answers: how long each took and how many of each status there were. */
export class Tally {
  #startedAt = performance.now();
  #latencies = [];
  #statuses = {};

  add(result) {
    this.#latencies.push(result.ms);
    this.#statuses[result.status] = (this.#statuses[result.status] ?? 0) + 1;
    return result;
  }

  finish(http) {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    http.close();
    return {
      latencies: this.#latencies,
      statuses: this.#statuses,
      perSecond: this.#latencies.length / seconds,
    };
  }
}
