import assert from 'node:assert/strict';
import { MINUTE, bytes, plain, randomId, times } from './bench.js';
import type { Bench, Claimed, ContractCase } from './bench.js';

export function claimCases(test: ContractCase): void {
  test('an absent record is claimed as its first attempt', async (bench) => {
    const claim = await bench.claim();
    assert.equal(claim.attempt, 1);
    assert.equal(claim.takenOver, false);
    assert.equal(typeof claim.fence, 'bigint');
    assert.ok(claim.fence > 0n);
  });

  test('the record in progress carries what the claim asked for', async (bench) => {
    const { request, fence } = await bench.claim();
    const { claimedAt, leaseUntil, ...record } = await bench.live(request.id);
    assert.deepEqual(record, {
      id: request.id,
      state: 'in-progress',
      fingerprint: new Uint8Array(request.fingerprint),
      owner: request.owner,
      fence,
      attemptsStarted: 1,
      attemptsFinished: 0,
      scope: request.scope,
      operation: request.operation,
      key: request.key,
      expiresAt: null,
      result: null,
    });
    bench.sameMoment(leaseUntil, claimedAt + request.leaseMs);
  });

  test('a claim is dated by the store’s clock', async (bench) => {
    const request = bench.request();
    await bench.dated(0, async () => (await bench.store.claim(request)).now);
    const { claimedAt } = await bench.live(request.id);
    await bench.dated(0, async () => (await bench.store.claim(request)).now);
    assert.ok(claimedAt <= (await bench.store.ping()));
  });

  test('a held claim answers the store’s clock', async (bench) => {
    const { id } = await bench.claim();
    await bench.dated(0, async () => (await bench.store.claim(bench.request({ id }))).now);
  });

  test('display texts may be absent', async (bench) => {
    const { id } = await bench.claim({ scope: null, operation: null, key: null });
    const { scope, operation, key } = await bench.live(id);
    assert.deepEqual({ scope, operation, key }, { scope: null, operation: null, key: null });
  });

  const liveStates: [string, (bench: Bench) => Promise<Claimed>][] = [
    ['in-progress', (bench) => bench.claim()],
    ['completed', (bench) => bench.completed()],
    ['tombstone', (bench) => bench.completed(null)],
    ['uncertain', (bench) => bench.uncertain()],
  ];
  for (const [state, arrange] of liveStates) {
    test(`a live record (${state}) holds every other claim off and is not changed`, async (bench) => {
      const { id } = await arrange(bench);
      const winner = await bench.live(id);
      const loser = { id, fingerprint: bytes('other'), scope: 'other', leaseMs: 1, ttlMs: 1 };
      const record = await bench.unchanged(id, () => bench.held(loser));
      assert.equal(record.state, state);
      assert.deepEqual(plain(record), winner);
    });
  }

  test('holding off many claims changes nothing', async (bench) => {
    const { id } = await bench.completed();
    await bench.unchanged(id, () => Promise.all(times(20, () => bench.held({ id }))));
  });

  test('a claim sent again by its live owner is claimed again, as the same attempt', async (bench) => {
    const { request, fence } = await bench.claim();
    const again = await bench.claim(request);
    assert.deepEqual([again.fence, again.attempt, again.takenOver], [fence, 1, false]);
    const record = await bench.live(request.id);
    assert.deepEqual([record.owner, record.attemptsStarted], [request.owner, 1]);
  });

  test('a takeover sent again still says that it is one', async (bench) => {
    const { id } = await bench.abandoned();
    const taken = await bench.claim({ id });
    const again = await bench.claim(taken.request);
    assert.deepEqual([again.fence, again.attempt, again.takenOver], [taken.fence, 2, true]);
  });

  test('a claim sent many times at once is one attempt', async (bench) => {
    const request = bench.request();
    const answers = await Promise.all(times(20, () => bench.claim(request)));
    assert.deepEqual(new Set(answers.map(({ fence }) => fence)).size, 1);
    assert.equal((await bench.live(request.id)).attemptsStarted, 1);
  });

  test('a claim sent again after its owner completed it is held by the outcome', async (bench) => {
    const { request } = await bench.completed(bytes('paid'));
    const record = await bench.held(request);
    assert.equal(record.owner, request.owner);
    assert.deepEqual(plain(record).result, bytes('paid'));
  });

  test('a claim sent again after its owner marked it uncertain is held', async (bench) => {
    const { request } = await bench.uncertain();
    assert.equal((await bench.held(request)).state, 'uncertain');
  });

  test('fences rise with every claim of the store', async (bench) => {
    const fences: bigint[] = [];
    for (const id of [randomId(), randomId(), randomId()]) {
      const claim = await bench.claim({ id });
      fences.push(claim.fence);
      await bench.store.release(claim);
      fences.push((await bench.claim({ id })).fence);
    }
    const rising = fences.every((fence, i) => i === 0 || fence > (fences[i - 1] ?? fence));
    assert.ok(rising, `not rising: ${fences.join(', ')}`);
  });

  test('records whose ids differ in one bit are kept apart', async (bench) => {
    const id = randomId();
    const ids = times(128, (bit) => flipBit(id, bit));
    await Promise.all([id, ...ids].map((each) => bench.claim({ id: each })));
    await bench.complete(await ownerOf(bench, id), bytes('only mine'));
    const states = await Promise.all(ids.map(async (each) => (await bench.live(each)).state));
    assert.deepEqual(new Set(states), new Set(['in-progress']));
  });

  test('the ids of all zeros and all ones are records like others', async (bench) => {
    for (const id of ['0'.repeat(32), 'f'.repeat(32)]) {
      await bench.claim({ id });
      assert.equal((await bench.held({ id })).id, id);
    }
  });

  test('a lease that ends before the outcome’s retention, or after it, is no matter', async (bench) => {
    const { id } = await bench.claim({ leaseMs: MINUTE, ttlMs: 1 });
    await bench.wait(bench.brief);
    assert.equal((await bench.live(id)).state, 'in-progress');
  });
}

async function ownerOf(bench: Bench, id: string): Promise<{ id: string; owner: string }> {
  const { owner } = await bench.live(id);
  return { id, owner };
}

function flipBit(id: string, bit: number): string {
  const flipped = Buffer.from(id, 'hex');
  flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return flipped.toString('hex');
}
