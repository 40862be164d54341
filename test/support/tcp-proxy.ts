import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a server that a test can block. */
export interface TcpProxy {
  readonly port: number;
  /** `through`: forwards. `cut`: resets every connection. `silent`: accepts, and forwards nothing. */
  mode(mode: 'through' | 'cut' | 'silent'): void;
  /** From now on everything is on its way for so long. */
  slowDown(ms: number): void;
  /**
   * Cuts the connection on which the client sends `text` next: before it reaches the server, or when the
   * server answers. Resolves when that has happened.
   */
  cutAt(text: string, when: 'before' | 'answered'): Promise<void>;
  close(): Promise<void>;
}

export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  let current: 'through' | 'cut' | 'silent' = 'through';
  let delayMs = 0;
  const sockets = new Set<Socket>();
  let trap: { text: string; when: 'before' | 'answered'; sprung: () => void } | undefined;
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => {
        if (trap !== undefined && from === client && chunk.includes(trap.text)) {
          const { when, sprung } = trap;
          trap = undefined;
          const cut = (): void => {
            client.destroy();
            upstream.destroy();
            sprung();
          };
          if (when === 'before') {
            return cut();
          }
          upstream.removeAllListeners('data').once('data', cut);
        }
        if (current === 'through') {
          if (delayMs === 0) to.write(chunk);
          else setTimeout(() => to.write(chunk), delayMs);
        }
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    if (current === 'cut') {
      client.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const destroyAll = (): void => sockets.forEach((socket) => socket.destroy());
  return {
    port: (server.address() as AddressInfo).port,
    slowDown(ms) {
      delayMs = ms;
    },
    mode(mode) {
      current = mode;
      if (mode === 'cut') {
        destroyAll();
      }
    },
    cutAt(text, when) {
      return new Promise((sprung) => {
        trap = { text, when, sprung };
      });
    },
    close() {
      destroyAll();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
