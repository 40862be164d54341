/** How often the handler ran for each key, and a gate that holds it open in the middle. */
export class Effects {
  #perKey = new Map();
  #total = 0;
  #gate = Promise.resolve();
  #open = () => {};
  #start = () => {};
  #started = Promise.resolve();

  /** Answers the number of this effect, which no other has. */
  async add(key) {
    this.#perKey.set(key, (this.#perKey.get(key) ?? 0) + 1);
    const number = ++this.#total;
    this.#start();
    await this.#gate;
    return number;
  }

  /** What happened since the last time it was asked. */
  take() {
    const counts = [...this.#perKey.values()];
    this.#perKey.clear();
    return {
      keys: counts.length,
      effects: counts.reduce((sum, count) => sum + count, 0),
      most: Math.max(0, ...counts),
    };
  }

  closeGate() {
    this.#gate = new Promise((resolve) => (this.#open = resolve));
    this.#started = new Promise((resolve) => (this.#start = resolve));
  }

  started() {
    return this.#started;
  }

  openGate() {
    this.#open();
  }
}
