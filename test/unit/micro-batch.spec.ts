import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MicroBatch } from '../../src/stores/typeorm/micro-batch.js';

interface Item {
  readonly id: string;
}

interface Sent {
  readonly ids: readonly string[];
  answer(...answers: (string | undefined)[]): void;
  fail(error: Error): void;
}

/** A batch whose statements end when the test says so. */
function recorded() {
  const sent: Sent[] = [];
  const send = <T>(ids: readonly string[], answerOf: (answers: (string | undefined)[]) => T) =>
    new Promise<T>((resolve, fail) => {
      sent.push({ ids, answer: (...answers) => resolve(answerOf(answers)), fail });
    });
  const batch = new MicroBatch<Item, string>(
    ({ id }) => send([id], ([answer]) => answer!),
    (items) =>
      send(
        items.map(({ id }) => id),
        (answers) => answers,
      ),
  );
  const add = (...ids: string[]) => ids.map((id) => batch.add({ id }));
  return { add, sent, ids: () => sent.map(({ ids }) => ids) };
}

const many = (count: number, name = 'n') => Array.from({ length: count }, (_, n) => `${name}${n}`);

describe('MicroBatch', () => {
  it('sends what comes alone alone, in the turn it comes in', async () => {
    const { add, sent, ids } = recorded();
    const [answer] = add('a');
    await nextTurn();
    expect(ids()).toEqual([['a']]);
    sent[0]!.answer('A');
    expect(await answer).toBe('A');
  });

  it('sends what comes in one turn together, and answers each', async () => {
    const { add, sent, ids } = recorded();
    const answers = add('a', 'b', 'c');
    await nextTurn();
    expect(ids()).toEqual([['a', 'b', 'c']]);
    sent[0]!.answer('A', 'B', 'C');
    expect(await Promise.all(answers)).toEqual(['A', 'B', 'C']);
  });

  it('sends at most a hundred in one, and two at a time', async () => {
    const { add, sent, ids } = recorded();
    void add(...many(250));
    await nextTurn();
    await nextTurn();
    await nextTurn();
    expect(ids()).toEqual([many(250).slice(0, 100), many(250).slice(100, 200)]);
    void add('late');
    sent[1]!.answer(...many(100));
    await nextTurn();
    await nextTurn();
    expect(ids().slice(2)).toEqual([[...many(250).slice(200), 'late']]);
  });

  it('tries each alone when all of them failed, so that only the bad one does', async () => {
    const { add, sent, ids } = recorded();
    const answers = Promise.allSettled(add('a', 'bad', 'c'));
    await nextTurn();
    sent[0]!.fail(new Error('all of them'));
    await nextTurn();
    expect(ids().slice(1)).toEqual([['a'], ['bad'], ['c']]);
    sent[1]!.answer('A');
    sent[2]!.fail(new Error('this one'));
    sent[3]!.answer('C');
    expect(await answers).toEqual([
      { status: 'fulfilled', value: 'A' },
      { status: 'rejected', reason: new Error('this one') },
      { status: 'fulfilled', value: 'C' },
    ]);
  });

  it('sends alone what has no answer, and keeps its record apart until it has', async () => {
    const { add, sent, ids } = recorded();
    const [, locked] = add('a', 'locked');
    await nextTurn();
    sent[0]!.answer('A', undefined);
    await nextTurn();
    void add('locked', 'b', 'c');
    await nextTurn();
    expect(ids().slice(1)).toEqual([['locked'], ['locked'], ['b', 'c']]);
    sent[1]!.answer('L');
    expect(await locked).toBe('L');
    void add('locked', 'd');
    await nextTurn();
    expect(ids().at(-1)).toEqual(['locked', 'd']);
  });

  it('does not wait for two statements that do not come back', async () => {
    const { add, sent, ids } = recorded();
    void add('a');
    await nextTurn();
    void add('b');
    await nextTurn();
    const [answer] = add('c');
    while (sent.length < 3) await nextTurn();
    expect(ids()).toEqual([['a'], ['b'], ['c']]);
    sent[2]!.answer('C');
    expect(await answer).toBe('C');
  });

  it('runs in the context of nobody, and answers in the own of each', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const batch = new MicroBatch<Item, string>(
      async () => '',
      async (items) => {
        seen.push(context.getStore());
        return items.map(({ id }) => id);
      },
    );
    const ask = async (id: string) => {
      await batch.add({ id });
      return context.getStore();
    };
    const asked = ['a', 'b'].map((name) => context.run(name, () => ask(name)));
    expect(await Promise.all(asked)).toEqual(['a', 'b']);
    expect(seen).toEqual([undefined]);
  });
});
