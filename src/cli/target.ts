import { recordId, type Identity } from '../engine/identity.js';
import type { IdempotencyStore, StoredRecord } from '../engine/store.js';
import { identitiesOf } from '../record-names.js';
import type { Values } from './command-line.js';
import { Refusal, UsageError, usageOf } from './failures.js';

/** The records that the command line may mean. */
export class Target {
  private constructor(
    readonly ids: readonly string[],
    private readonly identities: readonly Identity[],
    private readonly namespace: string,
  ) {}

  /** @throws UsageError */
  static of({ id, key, scope, operation, namespace = '' }: Values): Target {
    if ((id === undefined) === (key === undefined)) {
      throw new UsageError(
        'Write either --id <id> or --key <key>, with the --scope it was sent in.',
      );
    }
    if (key === undefined) {
      if (scope !== undefined || operation !== undefined) {
        throw new UsageError('An --id says all: leave out --scope and --operation.');
      }
      const given = String(id).replaceAll('-', '').toLowerCase();
      if (!/^[0-9a-f]{32}$/.test(given)) {
        throw new UsageError('An --id has 32 hex digits. Take it from list.');
      }
      return new Target([given], [], namespace);
    }
    const name = {
      key,
      ...(scope !== undefined && { scope }),
      ...(operation !== undefined && { operation }),
    };
    const identities = usageOf(() => identitiesOf(namespace, name));
    return new Target(identities.map(recordId), identities, namespace);
  }

  /** @throws UsageError when there is more than one */
  async find(store: IdempotencyStore): Promise<StoredRecord | null> {
    const found: StoredRecord[] = [];
    for (const id of this.ids) {
      const record = await store.find(id);
      if (record !== null) found.push(record);
    }
    const [record = null, another] = found;
    if (another !== undefined) {
      throw new UsageError(
        `The key has more than one record. Add --operation http or --operation execute.`,
      );
    }
    return record;
  }

  /** @throws Refusal when there is none; UsageError when there is more than one */
  async require(store: IdempotencyStore): Promise<StoredRecord> {
    const record = await this.find(store);
    if (record === null) {
      throw new Refusal('There is no such record. Check the scope, the namespace and the table.');
    }
    return record;
  }

  /** Under which names the record was made; `undefined` where only a masked key is left of them. */
  identityOf({ id, scope, operation, key }: StoredRecord): Identity | undefined {
    const given = this.identities.find((identity) => recordId(identity) === id);
    if (given !== undefined || key === null || operation === null) {
      return given;
    }
    const read = { namespace: this.namespace, scope: scope ?? '', operation, key };
    return recordId(read) === id ? read : undefined;
  }
}

/** How a person recognises the record. */
export function describe({ id, operation, key }: StoredRecord): string {
  return `${id} (${[operation, key].filter((part) => part !== null).join(', ')})`;
}
