import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Random } from './random.js';

/** How long the database has for what was sent before its connection was cut, in milliseconds. */
const LAST_WORDS_MS = 300;

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** The way of every application to the database, which a run cuts, freezes and slows down. */
export class ChaosProxy {
  private readonly links = new Set<Link>();
  private latencyMs = 0;
  private isFrozen = false;
  private precious: { readonly text: string; readonly done: () => void }[] = [];

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
  ) {
    server.on('connection', (client) => this.link(client));
  }

  static async start(targetPort: number): Promise<ChaosProxy> {
    const server = createServer();
    const proxy = new ChaosProxy(server, targetPort);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Resets about this share of the connections. */
  cut(share: number, random: Random): void {
    for (const { client, upstream } of [...this.links].filter(() => random.chance(share))) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  /**
   * The next statement that holds `text` reaches the database, and its answer does not reach the
   * application. Resolves when that has happened.
   */
  loseAnswerTo(text: string): Promise<void> {
    return new Promise((done) => {
      this.precious.push({ text, done });
    });
  }

  /** Nothing goes through in either direction, and no connection is told. */
  freeze(): void {
    this.isFrozen = true;
    for (const { client, upstream } of this.links) {
      client.pause();
      upstream.pause();
    }
  }

  /** What was held back goes on, late. */
  thaw(): void {
    this.isFrozen = false;
    for (const { client, upstream } of this.links) {
      client.resume();
      upstream.resume();
    }
  }

  /** Holds every packet back for so long. */
  slowDown(ms: number): void {
    this.latencyMs = ms;
  }

  /** Everything goes through as if nothing had been. */
  heal(): void {
    this.precious = [];
    this.slowDown(0);
    this.thaw();
  }

  async close(): Promise<void> {
    this.server.close();
    for (const { client, upstream } of this.links) {
      client.destroy();
      upstream.destroy();
    }
    await once(this.server, 'close');
  }

  private link(client: Socket): void {
    const upstream = connect({ host: '127.0.0.1', port: this.targetPort });
    const link = { client, upstream };
    this.links.add(link);
    client.setNoDelay();
    upstream.setNoDelay();
    const forward = this.forwarder(client, upstream);
    const back = this.forwarder(upstream, client);
    client.on('data', (chunk: Buffer) => {
      forward(chunk);
      const found = this.precious.find(({ text }) => chunk.includes(text));
      if (found !== undefined) {
        this.precious = this.precious.filter((one) => one !== found);
        this.loseAnswers(link, found.done);
      }
    });
    upstream.on('data', back);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.links.delete(link);
        other.destroy();
      });
    }
    if (this.isFrozen) {
      client.pause();
      upstream.pause();
    }
  }

  /** The statement may come in several packets: the rest of it still goes through. */
  private loseAnswers({ client, upstream }: Link, done: () => void): void {
    upstream.removeAllListeners('data');
    upstream.on('data', () => {
      upstream.removeAllListeners('data').resume();
      client.resetAndDestroy();
      done();
    });
    setTimeout(() => client.resetAndDestroy(), LAST_WORDS_MS).unref();
    client.once('close', done);
  }

  /** Writes in order, however the delay changes meanwhile. */
  private forwarder(from: Socket, to: Socket): (chunk: Buffer) => void {
    let waiting = 0;
    let last = Promise.resolve();
    return (chunk) => {
      if (this.latencyMs === 0 && waiting === 0) {
        write(from, to, chunk);
        return;
      }
      const due = performance.now() + this.latencyMs;
      waiting += 1;
      last = last.then(async () => {
        await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
        waiting -= 1;
        write(from, to, chunk);
      });
    };
  }
}

function write(from: Socket, to: Socket, chunk: Buffer): void {
  if (to.writable && !to.write(chunk)) {
    from.pause();
    to.once('drain', () => from.resume());
  }
}
