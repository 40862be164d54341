import { Controller, Header, NotFoundException, Post } from '@nestjs/common';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  type HttpRequest,
  type IdempotencyHooks,
} from 'nestjs-idempotency';
import { TypeOrmModule } from '@nestjs/typeorm';
import { platforms, send, startApp, type TestApp } from '../support/http.js';

const CARD = '4111 1111 1111 1111';
let runs = 0;
let answer: () => boolean | Promise<boolean>;
const asked: unknown[] = [];

@Controller()
class Cards {
  @Post('cards')
  @Idempotent({ redact: ['card.number'] })
  issue() {
    runs += 1;
    return { id: runs, card: { number: CARD, brand: 'x' } };
  }

  @Post('pages')
  @Header('Content-Type', 'text/html')
  @Idempotent({ redact: ['card.number'] })
  page() {
    runs += 1;
    return `<p>${CARD}</p>`;
  }

  @Post('orders')
  @Idempotent({
    authorizeReplay: (request: HttpRequest, context) => {
      asked.push([request.url, context.getHandler().name]);
      return answer();
    },
  })
  order() {
    runs += 1;
    return { id: runs };
  }
}

describe.each(platforms)('who may see what of a recorded response on %s', (platform) => {
  describe.each(['lease', 'transactional'] as const)('(%s)', (mode) => {
    const told: string[] = [];
    const hooks: IdempotencyHooks = {
      onReplayed: () => told.push('replayed'),
      onRejected: ({ code }) => told.push(code),
    };
    let app: TestApp;

    beforeAll(async () => {
      app = await startApp(platform, {
        imports: [
          TypeOrmModule.forRoot({
            type: 'better-sqlite3',
            database: ':memory:',
            synchronize: true,
          }),
          IdempotencyModule.forRoot({ mode, hooks, cleanup: false, startupReport: false }),
        ],
        controllers: [Cards],
      });
    });
    afterAll(() => app.close());
    beforeEach(() => {
      runs = 0;
      told.splice(0);
      asked.splice(0);
      answer = () => true;
    });
    afterEach(() => app.app.get(IdempotencyService).forget({ key: 'k' }));

    const post = (path: string) => send(app, { path, key: 'k', body: {} });

    it('is asked for a replay, and for nothing else', async () => {
      const first = await post('/orders');
      expect(asked).toEqual([]);
      const again = await post('/orders');
      expect(asked).toEqual([['/orders', 'order']]);
      expect(again.text).toBe(first.text);
      expect(told).toEqual(['replayed']);
    });

    it.each<[string, () => boolean | Promise<boolean>]>([
      ['no', () => false],
      ['no, later', () => Promise.resolve(false)],
      ['nothing', () => undefined as unknown as boolean],
      ['something', () => 'yes' as unknown as boolean],
    ])('is refused by somebody who says %s', async (_, says) => {
      answer = says;
      await post('/orders');
      const again = await post('/orders');
      expect(again).toMatchObject({ status: 403 });
      expect(again.json()).toMatchObject({
        code: 'IDEMPOTENCY_REPLAY_FORBIDDEN',
        retryable: false,
      });
      expect(again.header('content-type')).toMatch('application/problem+json');
      expect(again.header('Idempotent-Replayed')).toBeUndefined();
      expect([runs, told]).toEqual([1, ['IDEMPOTENCY_REPLAY_FORBIDDEN']]);
    });

    it('is answered by what the application throws', async () => {
      answer = () => {
        throw new NotFoundException('no such order');
      };
      await post('/orders');
      const again = await post('/orders');
      expect([again.status, again.json<{ message: string }>().message]).toEqual([
        404,
        'no such order',
      ]);
      expect([runs, told]).toEqual([1, []]);
    });

    it('reaches the first caller whole, and nobody else', async () => {
      expect((await post('/cards')).json()).toMatchObject({ card: { number: CARD } });
      const again = await post('/cards');
      expect(again.json()).toEqual({ id: 1, card: { number: '[redacted]', brand: 'x' } });
      expect(again.header('Idempotent-Replayed')).toBe('true');
      expect(again.header('ETag')).toBeUndefined();
    });

    it('is not kept when nobody can tell where the fields are', async () => {
      expect((await post('/pages')).text).toContain(CARD);
      const again = await post('/pages');
      expect([again.status, again.json<{ code: string }>().code, runs]).toEqual([
        409,
        'IDEMPOTENCY_RESULT_UNAVAILABLE',
        1,
      ]);
    });
  });
});
