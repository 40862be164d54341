import type { Failpoint } from '../../src/engine/failpoints.js';
import { eventually } from '../../test/support/http.js';
import { replayed } from './answers.js';
import { key } from './client.js';
import type { Answer, RequestHeaders } from './client.js';
import { databases } from './databases.js';
import { startDoomedShop } from './doomed-shop.js';
import { Shop } from './shop.js';

describe.each(databases)('a process that dies on %s', (name, createDatabase) => {
  /** Beside others, because it waits for a lease. The shop is another process, which goes on. */
  const onShop = (body: (shop: Shop) => Promise<void>) => async (): Promise<void> => {
    const shop = await Shop.open(createDatabase);
    await body(shop).finally(() => shop.close());
  };

  /** As a client would: repeats the request until there is an outcome. */
  const payUntilDone = async (shop: Shop, id: string, once: RequestHeaders): Promise<Answer> => {
    let answer: Answer | undefined;
    await eventually(
      async () => {
        answer = await shop.pay(id, once);
        return answer.status !== 409;
      },
      'an answer other than 409',
      15_000,
    );
    return answer as Answer;
  };

  const die = async (
    shop: Shop,
    dieAt: Failpoint,
    request: (doomed: Shop['alice']) => Promise<Answer>,
  ) => {
    const doomed = await startDoomedShop({
      database: shop.database.config,
      broker: shop.services.broker,
      dieAt,
    });
    await expect(request(doomed.alice)).rejects.toThrow('fetch failed');
    expect(await doomed.died).toBe('SIGKILL');
  };

  const everywhere: [when: string, dieAt: Failpoint, chargeAttempts: number][] = [
    ['when it has charged and not noted it: the provider is asked again', 'step:before', 2],
    ['between charge and booking: the provider is not asked again', 'step:after', 1],
    ['in the middle of the booking: it is booked once', 'commit:before', 1],
  ];
  // every start of a process takes a second or two, and every lease five: the corner on each database
  const deaths = everywhere.filter(([, at]) => name === 'SQLite' || at === 'step:after');

  for (const [when, dieAt, chargeAttempts] of deaths) {
    it.concurrent(
      when,
      onShop(async (shop) => {
        const id = await shop.placed();
        const once = key();
        const changed = await shop.changes(async () => {
          await die(shop, dieAt, (doomed) =>
            doomed.post(`/orders/${id}/pay`, once, { simulate: {} }),
          );
          expect((await shop.alice.get(`/orders/${id}`)).json.state).toBe('paying');
          expect((await shop.pay(id, key())).status).toBe(409);

          const answer = await payUntilDone(shop, id, once);
          expect([answer.status, answer.json.state, replayed(answer)]).toEqual([
            200,
            'paid',
            false,
          ]);
          const again = await shop.pay(id, once);
          expect([again.text, replayed(again)]).toEqual([answer.text, true]);
        });
        expect(changed).toEqual({ chargeAttempts, charges: 1, payments: 1 });
      }),
    );
  }

  it.concurrent(
    'before an order is committed: nothing is left, and the key runs again at once',
    onShop(async (shop) => {
      const once = key();
      expect(
        await shop.changes(() => die(shop, 'commit:before', (doomed) => doomed.place(once))),
      ).toEqual({});
      const changed = await shop.changes(async () => {
        const answer = await shop.alice.place(once);
        expect([answer.status, replayed(answer)]).toEqual([201, false]);
      });
      expect(changed).toEqual({ orders: 1, tea: -2 });
    }),
  );
});
