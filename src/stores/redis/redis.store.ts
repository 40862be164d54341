import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  IdempotencyStore,
  ListFilter,
  SettleResult,
  StoredRecord,
} from '../../engine/store.js';
import { AllShards, type Argument } from './all-shards.js';
import { Script, type RedisConnection } from './client.js';
import { unavailable } from './errors.js';
import { fenceSuffix, RecordKeys } from './keys.js';
import { bytes, claimResult, number, settleResult, storedRecord } from './replies.js';
import { CLAIM } from './scripts/claim.js';
import * as operate from './scripts/operate.js';
import { recordScript } from './scripts/record.js';
import * as settle from './scripts/settle.js';
import { checkServers } from './server-check.js';

/** Whole milliseconds of the server's clock. */
const SERVER_CLOCK = 'time[1] * 1000 + math.floor(time[2] / 1000)';

/** Keeps every record in a hash of its own, and changes it by one script on the server at a time. */
export class RedisStore implements IdempotencyStore {
  readonly name = 'redis';
  warnings: readonly string[] = [];
  private readonly keys: RecordKeys;
  private readonly shards: AllShards;
  private readonly scripts = new Map<string, Script>();

  /** @param clock a Lua expression, for tests */
  constructor(
    private readonly connection: RedisConnection,
    prefix: string,
    private readonly clock = SERVER_CLOCK,
  ) {
    this.keys = new RecordKeys(prefix);
    this.shards = new AllShards(this.keys, (script, shard, args) =>
      this.runOn(script, shard, args),
    );
  }

  async init(): Promise<void> {
    const told = await this.shards.ask(operate.INSPECT);
    this.warnings = checkServers(told as [Buffer, Buffer][]);
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { scope, operation, key } = request;
    const texts = Object.entries({ scope, operation, key }).filter(([, value]) => value !== null);
    const reply = await this.run(CLAIM, request.id, [
      request.owner,
      buffer(request.fingerprint),
      String(request.leaseMs),
      String(request.ttlMs),
      request.effectStarted === true ? '1' : '',
      fenceSuffix(request.id),
      ...(texts as [string, string][]).flat(),
    ]);
    return claimResult(reply);
  }

  /** Sent at once, which is one round trip; who asks for a record a second time asks after that. */
  async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    const firsts = new Map(requests.toReversed().map((request) => [request.id, request]));
    const answered = new Map(
      await Promise.all(
        [...firsts.values()].map(async (request) => [request, await this.claim(request)] as const),
      ),
    );
    const answers: ClaimResult[] = [];
    for (const request of requests) {
      answers.push(answered.get(request) ?? (await this.claim(request)));
    }
    return answers;
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const answers = await Promise.all(
      claims.map((claim) => this.settle(settle.RENEW, claim, String(leaseMs))),
    );
    return new Set(claims.filter((_, n) => answers[n]?.applied).map(({ owner }) => owner));
  }

  complete(request: CompleteRequest): Promise<SettleResult> {
    const { result, ttlMs } = request;
    return this.settle(settle.COMPLETE, request, String(ttlMs), ...optional(result));
  }

  completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    return Promise.all(requests.map((request) => this.complete(request)));
  }

  release(claim: Claim, counted = true): Promise<SettleResult> {
    return this.settle(settle.RELEASE, claim, counted ? '1' : '');
  }

  park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    return this.settle(settle.PARK, claim, ...optional(result));
  }

  markUncertain(claim: Claim): Promise<SettleResult> {
    return this.settle(settle.MARK_UNCERTAIN, claim);
  }

  startEffect(claim: Claim): Promise<SettleResult> {
    return this.settle(settle.START_EFFECT, claim);
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    return this.settle(settle.KEEP_STEPS, claim, buffer(steps));
  }

  async resolve(
    id: string,
    verdict: 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number },
    owner = '',
  ): Promise<boolean> {
    const args =
      verdict === 'absent' ? [verdict] : [String(verdict.ttlMs), ...optional(verdict.result)];
    return number(await this.run(operate.RESOLVE, id, [owner, ...args])) === 1;
  }

  async find(id: string): Promise<StoredRecord | null> {
    const [record] = (await this.run(operate.FIND, id, [])) as unknown[];
    return record === undefined ? null : storedRecord(record);
  }

  async findSteps(id: string): Promise<Uint8Array | null> {
    return bytes((await this.run(operate.FIND_STEPS, id, [])) as Buffer | null);
  }

  list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.shards.list(filter);
  }

  countRecords(filter: CountFilter, upTo: number): Promise<number> {
    return this.shards.count(filter, upTo);
  }

  async scopeWarning(): Promise<string> {
    return (
      'The Redis store has no index on scope, and every new key with maxKeysPerScope reads all records. Where there ' +
      'are many, keep them in a SQL database.'
    );
  }

  async forget(id: string): Promise<boolean> {
    return number(await this.run(operate.FORGET, id, [])) === 1;
  }

  deleteExpired(limit: number): Promise<number> {
    return this.shards.deleteExpired(limit);
  }

  async ping(): Promise<number> {
    return number(await this.run(operate.PING, '0'.repeat(32), []));
  }

  private async settle(
    script: string,
    { id, owner }: Claim,
    ...args: Argument[]
  ): Promise<SettleResult> {
    return settleResult(await this.run(script, id, [owner, ...args]));
  }

  private run(script: string, id: string, args: Argument[]): Promise<unknown> {
    return this.runOn(script, this.keys.of(id), args);
  }

  private async runOn(text: string, keys: string[], args: Argument[]): Promise<unknown> {
    let script = this.scripts.get(text);
    if (script === undefined) {
      script = new Script(recordScript(this.clock) + text);
      this.scripts.set(text, script);
    }
    try {
      return await this.connection.run(script, keys, args);
    } catch (error) {
      throw unavailable(error);
    }
  }
}

/** How many results follow, and the result. */
function optional(result: Uint8Array | null): Argument[] {
  return result === null ? ['0'] : ['1', buffer(result)];
}

function buffer({ buffer: memory, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(memory, byteOffset, byteLength);
}
