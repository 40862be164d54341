import type { CountFilter, ListFilter, StoredRecord } from '../../engine/store.js';
import { shardOf, type RecordKeys } from './keys.js';
import { number, storedRecord } from './replies.js';
import * as operate from './scripts/operate.js';

/** What one script looks at, so that it does not keep others waiting. */
const CHUNK = 200;
/** How many shards are asked at once. */
const WINDOW = 32;

export type Argument = string | Buffer;

/** What concerns records of every shard, each of which may be on another server. */
export class AllShards {
  constructor(
    private readonly keys: RecordKeys,
    private readonly run: (script: string, shard: string[], args: Argument[]) => Promise<unknown>,
  ) {}

  /** What a script without arguments answers for each of them, in their order. */
  ask(script: string): Promise<unknown[]> {
    return Promise.all(this.keys.shards().map((shard) => this.run(script, shard, [])));
  }

  async list({ after = '', limit, ...filter }: ListFilter): Promise<readonly StoredRecord[]> {
    const records: StoredRecord[] = [];
    const shards = this.keys.shards().slice(after === '' ? 0 : shardOf(after));
    for (let n = 0; n < shards.length && records.length < limit; n += WINDOW) {
      const wanted = limit - records.length;
      const lists = shards.slice(n, n + WINDOW).map(async (shard, m) => {
        const found: StoredRecord[] = [];
        // behind the page before, which ended in the first of all
        const from = n + m === 0 ? after : '';
        await this.walk(operate.LIST, shard, filter, from, wanted, (shown) => {
          found.push(...(shown as unknown[]).map(storedRecord));
          return wanted - found.length;
        });
        return found;
      });
      records.push(...(await Promise.all(lists)).flat().slice(0, wanted));
    }
    return records;
  }

  async count(filter: CountFilter, upTo: number): Promise<number> {
    const shards = this.keys.shards();
    let count = 0;
    for (let n = 0; n < shards.length && count < upTo; n += WINDOW) {
      const counts = shards.slice(n, n + WINDOW).map((shard) =>
        this.walk(operate.COUNT, shard, filter, '', upTo - count, (counted) => {
          count += number(counted);
          return upTo - count;
        }),
      );
      await Promise.all(counts);
    }
    return Math.min(count, upTo);
  }

  /** Needs no turns: a script deletes what no other has, and several only find less to do. */
  async deleteExpired(limit: number): Promise<number> {
    let deleted = 0;
    for (;;) {
      const due = (await this.ask(operate.COUNT_DUE)).map(number);
      const wanted = Math.min(sum(due), limit - deleted);
      const round = await this.deleteDue(due, wanted);
      deleted += round;
      // fewer, when some were put off or were no longer there: then there may be others
      if (round === wanted) return deleted;
    }
  }

  /** Goes through a shard in parts. `take` is given what was found, and answers how many more are wanted. */
  private async walk(
    script: string,
    shard: string[],
    { state, scope }: CountFilter,
    after: string,
    atFirst: number,
    take: (found: unknown) => number,
  ): Promise<void> {
    let from = after;
    let wanted = atFirst;
    do {
      const [next, found] = (await this.run(script, shard, [
        from,
        String(CHUNK),
        String(wanted),
        state ?? '',
        ...(scope === undefined ? [] : [scope]),
      ])) as [Buffer, unknown];
      wanted = take(found);
      from = String(next);
    } while (from !== '' && wanted > 0);
  }

  /** @param due how many there are in each shard */
  private async deleteDue(due: readonly number[], wanted: number): Promise<number> {
    let left = wanted;
    const deletions = this.keys.shards().map(async (shard, n) => {
      let share = Math.min(due[n] ?? 0, left);
      left -= share;
      let deleted = 0;
      for (; share > 0; share -= CHUNK) {
        const chunk = String(Math.min(share, CHUNK));
        deleted += number(await this.run(operate.DELETE_DUE, shard, [chunk]));
      }
      return deleted;
    });
    return sum(await Promise.all(deletions));
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
