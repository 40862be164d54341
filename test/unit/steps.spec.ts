import { encodeEnvelope } from '../../src/engine/envelope.js';
import { fingerprint } from '../../src/engine/fingerprint.js';
import { stepNames, Steps } from '../../src/engine/steps.js';

const identity = { namespace: '', scope: '', operation: 'http', key: 'k' };
const mine = fingerprint(identity, { body: 1 });
const theirs = fingerprint(identity, { body: 2 });
const LIMIT = 1_000;

/** The steps that an attempt finds after another one has finished these, in this order. */
function after(finished: Record<string, unknown>, limit = LIMIT): Steps {
  const steps = new Steps(mine, limit);
  for (const [name, value] of Object.entries(finished)) {
    steps.finish(steps.ask(name), value);
  }
  return Steps.decode(steps.encode(), mine, limit);
}

const code = (suffix: string) => expect.objectContaining({ code: `IDEMPOTENCY_${suffix}` });

describe('steps', () => {
  it('are named in the order in which they were asked for, not in which they ended', () => {
    const steps = new Steps(mine, LIMIT);
    const [first, second] = [steps.ask('first'), steps.ask('second')];
    steps.finish(second, 2);
    steps.finish(first, 1);
    expect(stepNames(steps.encode())).toEqual(['first', 'second']);
    expect(stepNames(null)).toEqual([]);
  });

  it.each([
    ['text', 'charged'],
    ['nothing', undefined],
    ['null', null],
    ['a date', new Date(0)],
    ['a large number', 2n ** 80n],
    ['a map', new Map([['a', new Set([1])]])],
    ['bytes', Buffer.from([0, 255, 128])],
    ['NaN', NaN],
    ['a nested object', { a: [{ b: undefined }, new Date(5)] }],
  ])('give %s back as it was', (_, value) => {
    const steps = after({ first: 'x', it: value, last: 'y' });
    steps.ask('first');
    const step = steps.ask('it');
    expect(steps.isFinished(step)).toBe(true);
    expect(steps.resultOf(step)).toEqual(value);
    expect(Buffer.isBuffer(steps.resultOf(step))).toBe(Buffer.isBuffer(value));
    expect(steps.resultOf(steps.ask('last'))).toBe('y');
  });

  it('that were never finished are to be run', () => {
    const steps = after({ reserve: 1 });
    steps.ask('reserve');
    expect(steps.isFinished(steps.ask('charge'))).toBe(false);
  });

  it('go on over several attempts', () => {
    const second = after({ reserve: 1 });
    second.ask('reserve');
    second.finish(second.ask('charge'), 2);
    const third = Steps.decode(second.encode(), mine, LIMIT);
    expect(['reserve', 'charge'].map((name) => third.resultOf(third.ask(name)))).toEqual([1, 2]);
  });

  it('that finish in another order than they were asked for keep their places', () => {
    const first = new Steps(mine, LIMIT);
    const [a, b, c] = ['a', 'b', 'c'].map((name) => first.ask(name));
    first.finish(c!, 'third');
    first.finish(a!, 'first');
    const second = Steps.decode(first.encode(), mine, LIMIT);
    expect(second.resultOf(second.ask('a'))).toBe('first');
    expect(second.isFinished(second.ask('b'))).toBe(false);
    expect(second.resultOf(second.ask('c'))).toBe('third');
    expect(b?.position).toBe(1);
  });

  it.each<[what: string, finished: Record<string, unknown>, asked: string[], named: string[]]>([
    ['renamed', { charge: 1 }, ['pay'], ['pay', 'charge']],
    ['in another order', { reserve: 1, charge: 2 }, ['charge'], ['charge', 'reserve']],
    ['further back', { charge: 1 }, ['new', 'charge'], ['new', 'charge']],
    ['asked for twice', {}, ['charge', 'charge'], ['charge']],
    ['asked for twice in a retry', { charge: 1 }, ['charge', 'charge'], ['charge']],
  ])('that are %s are refused', (_, finished, asked, named) => {
    const steps = after(finished);
    const last = asked.pop() as string;
    const ask = () => {
      asked.forEach((name) => steps.ask(name));
      steps.ask(last);
    };
    expect(ask).toThrow(code('STEPS_CHANGED'));
    expect(steps.problem).toMatchObject({ statusCode: 500 });
    named.forEach((name) => expect(steps.problem?.message).toContain(`'${name}'`));
  });

  it('that come after a step which was not finished are known by their names', () => {
    const first = new Steps(mine, LIMIT);
    first.ask('a');
    first.finish(first.ask('b'), 1);
    const second = Steps.decode(first.encode(), mine, LIMIT);
    expect(() => second.ask('b')).toThrow(
      "The step 'b' was number 2 in an earlier attempt and is number 1 now.",
    );
  });

  it('must all be asked for again', () => {
    const steps = after({ reserve: 1, charge: 2 });
    steps.ask('reserve');
    steps.checkAllAsked();
    expect(steps.problem).toEqual(code('STEPS_CHANGED'));
    expect(steps.problem?.message).toContain("'charge'");

    const complete = after({ reserve: 1 });
    complete.ask('reserve');
    complete.checkAllAsked();
    expect(complete.problem).toBeUndefined();
  });

  it('that did not fit stay what is told, also when others were not asked for', () => {
    const steps = after({ reserve: 1, charge: 2 });
    expect(() => steps.ask('pay')).toThrow(code('STEPS_CHANGED'));
    const first = steps.problem;
    steps.checkAllAsked();
    expect(steps.problem).toBe(first);
  });

  it.each([
    ['a function', () => 1],
    ['an instance of a class', new (class Order {})()],
    ['more than fits', 'x'.repeat(LIMIT)],
  ])('whose result is %s are done, but have none to give', (_, value) => {
    const steps = after({ charge: value, mail: 'sent' });
    const step = steps.ask('charge');
    expect(steps.isFinished(step)).toBe(true);
    expect(() => steps.resultOf(step)).toThrow(code('RESULT_UNAVAILABLE'));
    expect(steps.resultOf(steps.ask('mail'))).toBe('sent');
  });

  it('of all attempts together must fit', () => {
    const half = 'x'.repeat(LIMIT / 2 - 10);
    const second = after({ one: half });
    second.ask('one');
    second.finish(second.ask('two'), half);
    second.finish(second.ask('three'), half);
    const third = Steps.decode(second.encode(), mine, LIMIT);
    expect(['one', 'two'].map((name) => third.resultOf(third.ask(name)))).toEqual([half, half]);
    expect(() => third.resultOf(third.ask('three'))).toThrow(code('RESULT_UNAVAILABLE'));
  });

  it('of another request are refused', () => {
    const bytes = new Steps(mine, LIMIT).encode();
    expect(() => Steps.decode(bytes, theirs, LIMIT)).toThrow(code('KEY_REUSED'));
  });

  it.each<[what: string, bytes: () => Uint8Array]>([
    ['damaged', () => Buffer.concat([new Steps(mine, LIMIT).encode(), Buffer.of(0)])],
    ['no steps', () => encodeEnvelope({ kind: 'value', meta: {}, body: new Uint8Array() })],
    ['foreign', () => Buffer.from('garbage that is long enough')],
  ])('in bytes that are %s are not guessed at', (_, bytes) => {
    expect(() => Steps.decode(bytes(), mine, LIMIT)).toThrow(code('RECORD_UNREADABLE'));
  });

  it('with a value of a later kind are not guessed at', () => {
    const meta = { fingerprint: Buffer.from(mine).toString('hex'), steps: [[0, 'a', 1]] };
    const bytes = encodeEnvelope({ kind: 'steps', meta, body: Buffer.from('?') });
    const steps = Steps.decode(bytes, mine, LIMIT);
    expect(() => steps.resultOf(steps.ask('a'))).toThrow(code('RECORD_UNREADABLE'));
  });
});
