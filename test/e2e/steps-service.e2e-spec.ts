import 'reflect-metadata';
import { Controller, Logger, Post, ServiceUnavailableException } from '@nestjs/common';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyContext,
  type UnknownOutcomeResolver,
  type Verdict,
} from 'nestjs-idempotency';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;
let verdict: unknown;
const resolver: UnknownOutcomeResolver = () => {
  if (verdict instanceof Error) {
    throw verdict;
  }
  return verdict as Verdict;
};

@Controller()
class PaymentsController {
  @Post('ask')
  @Idempotent({ onUnknownOutcome: resolver })
  ask(@CurrentIdempotency() once: IdempotencyContext) {
    return this.pay(once);
  }

  @Post('steps')
  @Idempotent({ errors: 'store-all' })
  async steps(@CurrentIdempotency() once: IdempotencyContext) {
    await once.step(`charge ${once.attempt}`, () => (runs += 1));
    throw new ServiceUnavailableException();
  }

  private async pay(once: IdempotencyContext) {
    await once.effectStarted();
    runs += 1;
    if (once.attempt === 1) {
      throw new Error('the line went dead');
    }
    return { runs };
  }
}

beforeAll(() => Logger.overrideLogger(false));

describe.each(platforms)('steps and verdicts in one application on %s', (platform) => {
  let app: TestApp;
  let service: IdempotencyService;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [PaymentsController],
    });
    service = app.app.get(IdempotencyService);
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    key = `key-${(keys += 1)}`;
  });

  const post = (path: string): Promise<RawResponse> => send(app, { path, key });

  describe('a request whose handler failed past the point of no return', () => {
    beforeEach(async () => {
      const first = await post('/ask');
      expect([first.status, runs]).toEqual([500, 1]);
      expect(await service.find({ key })).toMatchObject({ state: 'uncertain' });
    });

    it.each<[verdict: unknown, status: number, body: object, runs: number]>([
      ['absent', 201, { runs: 2 }, 2],
      ['done', 409, { code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' }, 1],
      [{ response: { status: 202, body: { found: true } } }, 202, { found: true }, 1],
      [{ result: 1 }, 500, { code: 'IDEMPOTENCY_MISCONFIGURED' }, 1],
      ['unknown', 409, { code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' }, 1],
      [new Error('bank away'), 409, { code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' }, 1],
      [42, 409, { code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' }, 1],
    ])('is answered by the resolver’s %j', async (given, status, body, count) => {
      verdict = given;
      const answer = await post('/ask');
      expect(answer.status).toBe(status);
      expect(answer.json()).toMatchObject(body);
      verdict = 'absent'; // an outcome that is known is asked about no more
      if (status < 400) {
        expect((await post('/ask')).text).toBe(answer.text);
      }
      expect(runs).toBe(count);
    });

    it.each<[given: unknown, sentence: RegExp]>([
      [
        'later',
        /^IdempotencyService\.resolve\(\): the verdict is 'later'\. Write 'absent', 'done'/,
      ],
      [undefined, /the verdict is undefined/],
      [{ result: 1 }, /the outcome of a request is a response/],
      [{ response: { status: 1 } }, /cannot be sent/],
    ])('resolve() refuses %j and leaves it as it is', async (given, sentence) => {
      await expect(service.resolve({ key }, given as Verdict)).rejects.toThrow(sentence);
      expect(await service.find({ key })).toMatchObject({ state: 'uncertain' });
    });

    it('resolve() gives an outcome that is kept for the ttl of the module', async () => {
      expect(await service.resolve({ key }, 'done')).toBe(true);
      const expiresAt = (await service.find({ key }))?.expiresAt as Date;
      const hours = (expiresAt.getTime() - Date.now()) / 3_600_000;
      expect(Math.abs(hours - 24)).toBeLessThan(0.1);
    });
  });

  it('changed steps are an error of its own, whatever the errors policy would store', async () => {
    expect((await post('/steps')).status).toBe(503);
    for (const _ of [1, 2]) {
      const answer = await post('/steps');
      expect(answer.status).toBe(500);
      expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_STEPS_CHANGED' });
    }
    expect(runs).toBe(1);
    expect(await service.find({ key })).toBeNull();
  });

  describe('execute()', () => {
    const failing = (once: IdempotencyContext): Promise<never> =>
      once.effectStarted().then(() => {
        runs += 1;
        throw new Error('the line went dead');
      });

    it('resumes behind finished steps, with the types of their results', async () => {
      const book = (fails: boolean) =>
        service.execute({ key }, async (once) => {
          const at = await once.step('reserve', () => {
            runs += 1;
            return { at: new Date(0), nights: 2n };
          });
          if (fails) {
            throw new Error('not yet');
          }
          return at;
        });
      await expect(book(true)).rejects.toThrow('not yet');
      expect(await book(false)).toEqual({ at: new Date(0), nights: 2n });
      expect(runs).toBe(1);
    });

    it('fails when a finished step is not asked for again', async () => {
      const first = service.execute({ key }, async (once) => {
        await once.step('reserve', () => 1);
        throw new Error('not yet');
      });
      await expect(first).rejects.toThrow('not yet');
      await expect(service.execute({ key }, () => 'without')).rejects.toMatchObject({
        code: 'IDEMPOTENCY_STEPS_CHANGED',
      });
      expect(await service.find({ key })).toBeNull();
    });

    it.each<[verdict: unknown, expected: unknown]>([
      [{ result: new Date(5) }, new Date(5)],
      [{ result: undefined }, undefined],
      ['absent', 'ran'],
      ['done', 'IDEMPOTENCY_RESULT_UNAVAILABLE'],
      [{ response: { status: 200 } }, 'IDEMPOTENCY_MISCONFIGURED'],
      ['unknown', 'IDEMPOTENCY_OUTCOME_UNCERTAIN'],
    ])('a resolver answers %j', async (given, expected) => {
      verdict = given;
      const options = { key, onUnknownOutcome: resolver };
      await expect(service.execute(options, failing)).rejects.toThrow('the line went dead');
      const again = service
        .execute<unknown>(options, () => 'ran')
        .catch((error: { code: string }) => error.code);
      expect(await again).toEqual(expected);
      expect(runs).toBe(1);
    });

    it.each(['execute', 'close-invoice'])('resolve() gives %s its result', async (operation) => {
      const name = { key, operation };
      await expect(service.execute(name, failing)).rejects.toThrow('the line went dead');
      await expect(service.resolve(name, { response: { status: 200 } })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_MISCONFIGURED',
      });
      const [found] = (await service.list({ state: 'uncertain' })).filter((one) => one.key === key);
      expect(found?.operation).toBe(operation);
      expect(await service.resolve(name, { result: { sum: 7n } })).toBe(true);
      expect(await service.execute(name, () => 'not run')).toEqual({ sum: 7n });
      expect(await service.resolve(name, 'absent')).toBe(false);
    });

    it('resolve() without an operation finds the one that is uncertain', async () => {
      await expect(service.execute({ key }, failing)).rejects.toThrow('the line went dead');
      expect(await service.resolve({ key }, { result: 'found' })).toBe(true);
      expect(await service.execute({ key }, () => 'not run')).toBe('found');
    });

    it('resolve() knows no record, and no key that is none', async () => {
      expect(await service.resolve({ key }, 'absent')).toBe(false);
      await expect(service.resolve({ key: '' }, 'absent')).rejects.toMatchObject({
        code: 'IDEMPOTENCY_KEY_INVALID',
      });
    });

    it.each(['again', 5])('refuses onUnknownOutcome: %j', async (onUnknownOutcome) => {
      const options = { key, onUnknownOutcome: onUnknownOutcome as 'rerun' };
      await expect(service.execute(options, () => 1)).rejects.toThrow(
        "Write 'rerun' or 'block', or a function that finds out what happened.",
      );
    });
  });
});
