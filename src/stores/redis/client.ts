import { createHash } from 'node:crypto';

/** What is used of a client of `ioredis` 5 or `iovalkey`: `Redis` or `Cluster`. */
export interface IoRedisClient {
  callBuffer(command: string, args: (string | Buffer | number)[]): Promise<unknown>;
}

interface ScriptCall {
  keys: string[];
  arguments: (string | Buffer)[];
}

/** What is used of a client of `redis` 5 or 6: `createClient()`, `createClientPool()`, `createCluster()`, `createSentinel()`. */
export interface NodeRedisClient {
  withTypeMapping(mapping: { 36: BufferConstructor }): {
    eval(script: string, call: ScriptCall): Promise<unknown>;
    evalSha(digest: string, call: ScriptCall): Promise<unknown>;
  };
}

/** A connected client. It stays the application's, which also closes it. */
export type RedisClient = IoRedisClient | NodeRedisClient;

export class Script {
  readonly digest: string;

  constructor(readonly text: string) {
    this.digest = createHash('sha1').update(text).digest('hex');
  }
}

/** Texts of replies are `Buffer`s. */
export interface RedisConnection {
  /** Runs the script by its digest, and hands it over where the server does not know it (any more). */
  run(script: Script, keys: string[], args: (string | Buffer)[]): Promise<unknown>;
}

/** Answers `undefined` for what is no client. */
export function connectionOf(client: unknown): RedisConnection | undefined {
  const { callBuffer, withTypeMapping } = Object(client) as Partial<
    IoRedisClient & NodeRedisClient
  >;
  if (typeof callBuffer === 'function') return viaIoRedis(client as IoRedisClient);
  if (typeof withTypeMapping === 'function') return viaNodeRedis(client as NodeRedisClient);
  return undefined;
}

function viaIoRedis(client: IoRedisClient): RedisConnection {
  return {
    run: ({ digest, text }, keys, args) => {
      const call = (command: string, script: string) =>
        client.callBuffer(command, [script, keys.length, ...keys, ...args]);
      return knownOrSent(
        () => call('evalsha', digest),
        () => call('eval', text),
      );
    },
  };
}

function viaNodeRedis(client: NodeRedisClient): RedisConnection {
  // 36, `$`: the type of a text in the protocol
  const scripts = client.withTypeMapping({ 36: Buffer });
  return {
    run: ({ digest, text }, keys, args) => {
      const call = { keys, arguments: args };
      return knownOrSent(
        () => scripts.evalSha(digest, call),
        () => scripts.eval(text, call),
      );
    },
  };
}

async function knownOrSent(
  known: () => Promise<unknown>,
  sent: () => Promise<unknown>,
): Promise<unknown> {
  try {
    return await known();
  } catch (error) {
    const { message } = Object(error) as { message?: unknown };
    if (typeof message !== 'string' || !message.startsWith('NOSCRIPT')) throw error;
    return sent();
  }
}
