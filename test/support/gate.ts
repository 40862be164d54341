/** Holds a handler until the test lets it go, and tells the test that it got there. */
export class TestGate {
  /** Resolves when a handler has arrived. */
  readonly reached: Promise<void>;
  private arrive!: () => void;
  private readonly opened: Promise<void>;
  /** Lets everybody through, now and from now on. */
  open!: () => void;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.arrive = resolve;
    });
    this.opened = new Promise((resolve) => {
      this.open = resolve;
    });
  }

  async pass(): Promise<void> {
    this.arrive();
    await this.opened;
  }
}
