const SHARDS = 256;

/**
 * Records are kept in 256 shards by the last byte of their id: ids of one day begin alike. On a Redis Cluster all
 * keys of a shard are in one slot, and the shards spread over the nodes.
 */
export class RecordKeys {
  constructor(private readonly prefix: string) {}

  /** Of a record, and of its shard's `due`, `ids` and `fence`. */
  of(id: string): string[] {
    return this.inShard(id.slice(-2), id);
  }

  /** The keys of every shard, in their order, without a record. */
  shards(): string[][] {
    return Array.from({ length: SHARDS }, (_, n) =>
      this.inShard(n.toString(16).padStart(2, '0'), '0'.repeat(32)),
    );
  }

  private inShard(shard: string, id: string): string[] {
    const base = `${this.prefix}:{${shard}}:`;
    return [base + id, `${base}due`, `${base}ids`, `${base}fence`];
  }
}

/** Three digits that keep the fences of two shards apart when they are given in one moment. */
export function fenceSuffix(id: string): string {
  return shardOf(id).toString().padStart(3, '0');
}

export function shardOf(id: string): number {
  return Number.parseInt(id.slice(-2), 16);
}
