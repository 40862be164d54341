/** Lets a test decide when something goes on. */
export class TestGate {
  /** Resolves when somebody has come to the gate. */
  readonly reached: Promise<void>;
  private arrive!: () => void;
  private readonly opened: Promise<void>;
  private openIt!: () => void;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.arrive = resolve;
    });
    this.opened = new Promise((resolve) => {
      this.openIt = resolve;
    });
  }

  /** Lets everybody through, who waits and who comes later. */
  open(): void {
    this.openIt();
  }

  /** Waits until the gate is open. */
  pass(): Promise<void> {
    this.arrive();
    return this.opened;
  }
}
