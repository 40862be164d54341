import type { DataSource } from 'typeorm';
import { jittered, pause } from '../engine/timing.js';

/** Relays need not be told more often: they look for everything that there is. */
const REST_MS = 20;
const RECONNECT_MS = 2_000;

/** What is used of node-postgres. */
interface Client {
  connect(): Promise<unknown>;
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
  on(event: 'notification' | 'error' | 'end', listener: () => void): unknown;
}

interface Pool {
  readonly Client: new (options: unknown) => Client;
  readonly options: unknown;
}

/**
 * Wakes relays of other processes on PostgreSQL, over one connection beside the pool: nobody waits for it, and no
 * transaction carries it. A hint only: what is missed is found by polling.
 */
export class Notifications {
  private client: Promise<Client> | undefined;
  private readonly closing = new AbortController();
  private isWanted = false;
  private telling: Promise<void> | undefined;

  /** @param channel a quoted identifier */
  constructor(
    private readonly dataSource: DataSource,
    private readonly channel: string,
  ) {}

  /** Calls `listener` whenever another process has told of messages, and after it may have missed that. */
  listen(listener: () => void): void {
    void this.goOnListening(listener);
  }

  /** Messages were committed that this process does not send itself. */
  tell(): void {
    this.isWanted = true;
    this.telling ??= this.goOnTelling();
  }

  async close(): Promise<void> {
    this.closing.abort();
    const client = await this.client?.catch(() => undefined);
    await client?.end().catch(() => undefined);
  }

  private async goOnListening(listener: () => void): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      try {
        const client = await this.connect();
        const ended = new Promise<void>((resolve) => client.on('end', resolve));
        client.on('notification', listener);
        await client.query(`LISTEN ${this.channel}`);
        listener();
        await ended;
      } catch {
        // the server is away: polling finds what there is
      }
      await pause(jittered(RECONNECT_MS), signal);
    }
  }

  private async goOnTelling(): Promise<void> {
    while (this.isWanted && !this.closing.signal.aborted) {
      this.isWanted = false;
      try {
        const client = await this.connect();
        await client.query(`NOTIFY ${this.channel}`);
      } catch {
        // they look by themselves
      }
      await pause(REST_MS, this.closing.signal);
    }
    this.telling = undefined;
  }

  /** The connection, made anew when it was lost. */
  private connect(): Promise<Client> {
    this.client ??= this.open();
    return this.client;
  }

  private async open(): Promise<Client> {
    const { master } = this.dataSource.driver as unknown as { master: Pool };
    const client = new master.Client(master.options);
    const forget = (): void => {
      this.client = undefined;
    };
    // without a listener an error would end the process
    client.on('error', forget);
    client.on('end', forget);
    try {
      await client.connect();
      return client;
    } catch (error) {
      forget();
      throw error;
    }
  }
}
