/** How often the handler ran for each key, and a gate that holds it open in the middle. */
export class Effects {
  #perKey = new Map();
  #total = 0;
  #gate = Promise.resolve();
  #open = () => {};
  /** Who wants to know when the handler has begun, per key. */
  #watchers = new Map();

  /** Answers the number of this effect, which no other has. */
  async add(key) {
    this.#perKey.set(key, (this.#perKey.get(key) ?? 0) + 1);
    const number = ++this.#total;
    this.#watchers.get(key)?.();
    this.#watchers.delete(key);
    await this.#gate;
    return number;
  }

  of(key) {
    return this.#perKey.get(key) ?? 0;
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
  }

  /** Resolves when the handler has begun with this key, since `take()` was called last. */
  async started(key) {
    if (!this.#perKey.has(key)) {
      await new Promise((resolve) => this.#watchers.set(key, resolve));
    }
  }

  openGate() {
    this.#open();
  }
}
