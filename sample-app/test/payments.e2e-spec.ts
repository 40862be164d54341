import { DataSource } from 'typeorm';
import { Payment } from '../src/payments/payment.entity.js';
import { expectOneRun, replayed, statuses, times } from './answers.js';
import { key } from './client.js';
import type { Answer } from './client.js';
import { databases } from './databases.js';
import { Shop } from './shop.js';

const PAID_ONCE = { chargeAttempts: 1, charges: 1, payments: 1 };

describe.each(databases)('paying on %s', (_name, createDatabase) => {
  let shop: Shop;
  let pay: Shop['pay'];

  beforeAll(async () => {
    shop = await Shop.open(createDatabase);
    pay = (...args) => shop.pay(...args);
  });

  afterAll(() => shop?.close());

  const stateOf = async (id: string): Promise<string> =>
    (await shop.alice.get(`/orders/${id}`)).json.state;

  it('charges and books once for a retry', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      const first = await pay(id, once);
      expect(first.status).toBe(200);
      expect(first.json).toMatchObject({ id, state: 'paid' });
      expect((await pay(id, once)).text).toBe(first.text);
    });
    expect(changed).toEqual(PAID_ONCE);
    expect(
      await shop.app.get(DataSource).manager.findOneBy(Payment, { orderId: id }),
    ).toMatchObject({ amountCents: 900 });
  });

  it('needs no instructions', async () => {
    for (const body of [undefined, {}, { simulate: null }]) {
      const answer = await shop.alice.post(`/orders/${await shop.placed()}/pay`, key(), body);
      expect(answer.json.state).toBe('paid');
    }
  });

  it('does not ask the provider again for a charge that it knows of', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      expect((await pay(id, once, { failBooking: true })).status).toBe(503);
      expect(await stateOf(id)).toBe('paying');
      const retry = await pay(id, once, { failBooking: true });
      expect([retry.status, retry.json.state, replayed(retry)]).toEqual([200, 'paid', false]);
    });
    expect(changed).toEqual(PAID_ONCE);
  });

  it('charges once when the provider fails after charging, and lets nobody else at the order', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      expect((await pay(id, once, { failAfter: true })).status).toBe(502);
      expect((await pay(id, key())).status).toBe(409);
      expect((await shop.alice.post(`/orders/${id}/cancel`, key())).status).toBe(409);
      expect((await shop.alice.send('DELETE', `/orders/${id}`)).status).toBe(409);
      expect((await pay(id, once, { failAfter: true })).json.state).toBe('paid');
    });
    expect(changed).toEqual({ ...PAID_ONCE, chargeAttempts: 2 });
  });

  it('charges nothing when the provider fails before, and the same key goes on', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      expect((await pay(id, once, { failBefore: true })).status).toBe(502);
      expect((await pay(id, once, { failBefore: true })).status).toBe(502);
      expect((await pay(id, key())).status).toBe(409);
    });
    expect(changed).toEqual({ chargeAttempts: 2 });
    expect((await pay(id, once)).json.state).toBe('paid');
  });

  it('keeps a declined payment declined, and lets another one pay', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      const declined = await pay(id, once, { decline: true });
      expect([declined.status, replayed(declined)]).toEqual([402, false]);
      const retry = await pay(id, once, { decline: true });
      expect([retry.status, retry.text, replayed(retry)]).toEqual([402, declined.text, true]);
    });
    expect(changed).toEqual({ chargeAttempts: 1 });

    expect(await stateOf(id)).toBe('placed');
    expect(await shop.changes(() => pay(id))).toEqual(PAID_ONCE);
    expect(await stateOf(id)).toBe('paid');
  });

  it('charges once for duplicates of a slow payment', async () => {
    const id = await shop.placed();
    const once = key();
    const changed = await shop.changes(async () => {
      expectOneRun(await times(5, () => pay(id, once, { delayMs: 200 })));
    });
    expect(changed).toEqual(PAID_ONCE);
  });

  it('charges once for payments with different keys', async () => {
    const id = await shop.placed();
    const changed = await shop.changes(async () => {
      const answers = await times(5, () => pay(id, key(), { delayMs: 50 }));
      expect(statuses(answers)).toEqual([200, 409, 409, 409, 409]);
      expect((await pay(id, key())).status).toBe(409);
    });
    expect(changed).toEqual(PAID_ONCE);
  });

  it('refuses an order that is cancelled or unknown', async () => {
    const id = await shop.placed();
    await shop.alice.post(`/orders/${id}/cancel`, key());
    const changed = await shop.changes(async () => {
      expect((await pay(id)).status).toBe(409);
      expect((await pay('none')).status).toBe(404);
      expect((await pay(crypto.randomUUID())).status).toBe(404);
    });
    expect(changed).toEqual({});
  });

  it('refuses a delay of more than half a minute', async () => {
    expect((await pay(await shop.placed(), key(), { delayMs: 30_001 })).status).toBe(400);
  });

  describe('a receipt', () => {
    const receipt = (id: string): Promise<Answer> => shop.alice.post(`/orders/${id}/receipt`, {});

    it('has one number, however often and by how many it is asked for', async () => {
      const id = await shop.placed();
      await pay(id);
      const changed = await shop.changes(async () => {
        const answers = [...(await times(5, () => receipt(id))), await receipt(id)];
        expect(new Set(statuses(answers))).toEqual(new Set([200]));
        expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
        expect(answers[0]?.json).toMatchObject({ orderId: id, totalCents: 900 });
      });
      expect(changed).toEqual({ receipts: 1 });
    });

    it('is issued once the order is paid', async () => {
      const id = await shop.placed();
      expect(await shop.changes(() => receipt(id))).toEqual({});
      expect((await receipt(id)).status).toBe(409);
      await pay(id);
      expect((await receipt(id)).status).toBe(200);
    });

    it('is for those who may see the order', async () => {
      const id = await shop.placed();
      await pay(id);
      expect((await shop.bob.post(`/orders/${id}/receipt`, {})).status).toBe(404);
    });
  });
});
