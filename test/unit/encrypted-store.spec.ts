import { randomBytes } from 'node:crypto';
import { decodeEnvelope, encodeEnvelope } from '../../src/engine/envelope.js';
import type { IdempotencyStore } from '../../src/engine/store.js';
import { EncryptedStore } from '../../src/stores/encrypted/encrypted.store.js';
import { describeIdempotencyStore, memoryStore } from '../../src/testing/index.js';

const keys = new Map([
  ['old', randomBytes(32)],
  ['new', randomBytes(32)],
]);
const PLAIN = encodeEnvelope({ kind: 'value', meta: {}, body: Buffer.from('4111 1111') });

describeIdempotencyStore('an encrypted store', async () => {
  let now = 1_700_000_000_000;
  return {
    store: new EncryptedStore(memoryStore({ now: () => now }), { keys, current: 'new' }),
    advance: async (ms) => {
      now += ms;
    },
  };
});

describe('an encrypted store', () => {
  let inner: IdempotencyStore;
  const sealing = (current: string, ring: ReadonlyMap<string, Uint8Array> = keys) =>
    new EncryptedStore(inner, { keys: ring, current });

  beforeEach(() => {
    inner = memoryStore();
  });

  function request() {
    const [id, owner] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
    const texts = { scope: null, operation: null, key: null };
    return { ...texts, id, owner, fingerprint: new Uint8Array(17), leaseMs: 60_000, ttlMs: 60_000 };
  }

  async function completed(store: IdempotencyStore): Promise<string> {
    const { id, owner } = request();
    await store.claim({ ...request(), id, owner });
    await store.complete({ id, owner, result: PLAIN, ttlMs: 60_000 });
    return id;
  }
  const resultOf = async (store: IdempotencyStore, id: string) =>
    (await store.find(id))?.result as Uint8Array;

  it('hands nothing on that could be read', async () => {
    const store = sealing('new');
    const outcome = await resultOf(inner, await completed(store));

    const working = request();
    await store.claim(working);
    await store.keepSteps(working, PLAIN);
    await store.release(working);
    const taken = await inner.claim({ ...request(), id: working.id });
    const steps = taken.type === 'claimed' ? (taken.steps as Uint8Array) : PLAIN;

    const parking = request();
    await store.claim(parking);
    await store.park(parking, PLAIN);
    const why = await resultOf(inner, parking.id);

    const settled = request();
    await store.claim(settled);
    await store.markUncertain(settled);
    await store.resolve(settled.id, { result: PLAIN, ttlMs: 60_000 });
    const verdict = await resultOf(inner, settled.id);

    for (const bytes of [outcome, steps, why, verdict]) {
      expect(Buffer.from(bytes).includes('4111')).toBe(false);
      expect(() => decodeEnvelope(bytes)).toThrow(
        'it is encrypted, and no key of this server opens it',
      );
    }
  });

  it('seals the same bytes differently for each record', async () => {
    const store = sealing('new');
    const [one, two] = [await completed(store), await completed(store)];
    expect(await resultOf(inner, one)).not.toEqual(await resultOf(inner, two));
  });

  it('reads what an earlier key has sealed, while it has that key', async () => {
    const id = await completed(sealing('old'));
    expect(Buffer.from(await resultOf(sealing('new'), id))).toEqual(PLAIN);
    const without = sealing('new', new Map([['new', keys.get('new') as Uint8Array]]));
    const unread = await resultOf(without, id);
    expect(() => decodeEnvelope(unread)).toThrow('no key of this server opens it');
  });

  it('reads what was written before there was a key', async () => {
    expect(await resultOf(sealing('new'), await completed(inner))).toEqual(PLAIN);
  });

  it('does not open what was moved from another record', async () => {
    const store = sealing('new');
    const stolen = await resultOf(inner, await completed(store));
    const { id, owner } = request();
    await inner.claim({ ...request(), id, owner });
    await inner.complete({ id, owner, result: stolen, ttlMs: 60_000 });
    const read = await resultOf(store, id);
    expect(() => decodeEnvelope(read)).toThrow('no key of this server opens it');
  });

  it.each([
    [
      'a changed byte',
      (sealed: Buffer) => sealed.writeUInt8((sealed.at(-1) as number) ^ 1, sealed.length - 1),
    ],
    ['a changed tag', (sealed: Buffer) => sealed.writeUInt8(sealed.readUInt8(20) ^ 1, 20)],
    ['another name of its key', (sealed: Buffer) => sealed.write('old', 4)],
  ])('does not open bytes with %s', async (_, change) => {
    const store = sealing('new');
    const sealed = Buffer.from(await resultOf(inner, await completed(store)));
    change(sealed);
    const read = await readAs(sealed);
    expect(() => decodeEnvelope(read)).toThrow('no key of this server opens it');
  });

  it.each([3, 4, 10, 30, 34])('does not open bytes of which only %i are left', async (length) => {
    const store = sealing('new');
    const sealed = await resultOf(inner, await completed(store));
    const read = await readAs(sealed.subarray(0, length));
    expect(() => decodeEnvelope(read)).toThrow('no key of this server opens it');
  });

  /** What the store makes of these bytes. */
  async function readAs(bytes: Uint8Array): Promise<Uint8Array> {
    const { id, owner } = request();
    await inner.claim({ ...request(), id, owner });
    await inner.complete({ id, owner, result: bytes, ttlMs: 60_000 });
    return resultOf(sealing('new'), id);
  }
});
