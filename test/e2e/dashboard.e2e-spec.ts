import 'reflect-metadata';
import {
  Inject,
  Injectable,
  Module,
  SetMetadata,
  VersioningType,
  type CanActivate,
  type DynamicModule,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { map } from 'rxjs';
import { IdempotencyDashboardModule, type DashboardOptions } from 'nestjs-idempotency/dashboard';
import { Activity } from '../../src/dashboard/activity.js';
import {
  AdminGuard,
  ERROR,
  fillRecords,
  KEYS,
  RESULT,
  SCOPE,
  startDashboard,
  startDashboardWithOutbox,
  type DashboardApp,
} from '../support/dashboard.js';
import { eventually, platforms, send, startApp, type RawResponse } from '../support/http.js';

type Header = readonly [string, string];
interface Shown {
  readonly id: string;
  readonly state: string;
  readonly key: string | null;
  readonly scope: string | null;
  readonly fence: string;
  readonly lastError: unknown;
}

const ADMIN: Header = ['x-user', 'admin'];
const PAGE: Header = ['x-idempotency-dashboard', '1'];
const OURS = [ADMIN, PAGE];

const apps: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

describe.each(platforms)('the dashboard on %s', (platform) => {
  let app: DashboardApp;

  async function start(
    dashboard: DashboardOptions | DynamicModule = { guards: [AdminGuard] },
    configure?: (app: INestApplication) => void,
    options = {},
    bodyParser = true,
  ): Promise<DashboardApp> {
    const own = { bodyParser, ...(configure && { configure }) };
    app = await startDashboard(platform, dashboard, own, options);
    apps.push(app);
    await fillRecords(app.service);
    return app;
  }
  const get = (path: string, headers: readonly Header[] = OURS): Promise<RawResponse> =>
    send(app, { method: 'GET', path, headers });
  const post = (path: string, headers: readonly Header[] = OURS): Promise<RawResponse> =>
    send(app, { path, headers });
  const records = async (query = '', more: readonly Header[] = []): Promise<Shown[]> =>
    (await get(`/idempotency/api/records${query}`, [...OURS, ...more])).json<{ records: Shown[] }>()
      .records;
  async function recordIn(state: string): Promise<Shown> {
    const [record] = await records(`?state=${state}`);
    return record as Shown;
  }

  it('serves its page, which loads nothing from elsewhere and runs nothing inline', async () => {
    await start();
    const page = await get('/idempotency');
    expect(page.status).toBe(200);
    expect(page.header('content-type')).toBe('text/html; charset=utf-8');
    expect(page.header('content-security-policy')).toContain(
      "default-src 'none'; script-src 'self'",
    );
    expect(page.header('x-frame-options')).toBe('DENY');
    expect(page.header('cache-control')).toBe('no-store');
    expect(page.text).not.toMatch(/https?:|<style|style="|\son\w+=|\{\{/);
    const files = [...page.text.matchAll(/(?:src|href)="\.\/(idempotency\/[^"]+)"/g)];
    expect(files.length).toBe(2);
    for (const [, file] of files) {
      expect((await get(`/${file}`)).status).toBe(200);
    }
    expect((await get('/idempotency/files/dashboard.js')).header('content-type')).toBe(
      'text/javascript; charset=utf-8',
    );
    // a page of its own on Fastify, where there is none
    const { status, text } = await get('/idempotency/');
    expect(status === 404 || text.includes('"./files/dashboard.js"')).toBe(true);
    expect((await get('/idempotency/files/..%2Findex.js')).status).toBe(404);
  });

  it('lets nobody in whom its guards do not', async () => {
    await start();
    const { id, fence } = await recordIn('uncertain');
    const stranger = [PAGE];
    for (const path of [
      '/idempotency',
      '/idempotency/files/dashboard.js',
      '/idempotency/api/overview',
      '/idempotency/api/activity',
      '/idempotency/api/records',
      `/idempotency/api/records/${id}`,
      '/idempotency/api/outbox',
    ]) {
      expect([path, (await get(path, stranger)).status]).toEqual([path, 403]);
    }
    const change = `/idempotency/api/records/${id}/absent?fence=${fence}`;
    expect((await post(change, stranger)).status).toBe(403);
    expect((await post('/idempotency/api/outbox/1/redrive', stranger)).status).toBe(403);
    expect((await recordIn('uncertain')).id).toBe(id);
  });

  it('does nothing that another site has a browser ask for', async () => {
    await start({ guards: [AdminGuard] }, (nest) => nest.enableCors({ origin: true }));
    const { id, fence } = await recordIn('uncertain');
    const path = `/idempotency/api/records/${id}/absent?fence=${fence}`;
    const here = `http://127.0.0.1`;
    const forged: Record<string, readonly Header[]> = {
      'a form': [ADMIN],
      'a script on another site': [...OURS, ['sec-fetch-site', 'cross-site']],
      'a script on a sibling': [...OURS, ['sec-fetch-site', 'same-site']],
      'a link': [...OURS, ['sec-fetch-site', 'none']],
      'a script without HTTPS': [...OURS, ['origin', 'http://evil.example']],
      'a sandboxed frame': [...OURS, ['origin', 'null']],
    };
    for (const [who, headers] of Object.entries(forged)) {
      expect([who, (await post(path, headers)).status]).toEqual([who, 403]);
      expect([who, (await get('/idempotency/api/records', headers)).status]).toEqual([who, 403]);
    }
    expect((await recordIn('uncertain')).id).toBe(id);
    expect((await get('/idempotency/api/records', [...OURS, ['origin', here]])).status).toBe(200);
    expect((await post(path, [...OURS, ['sec-fetch-site', 'same-origin']])).json()).toEqual({
      done: true,
    });
  });

  it('masks keys, scopes and what was thrown, and never shows a result', async () => {
    await start();
    const all = await get('/idempotency/api/records');
    const one = await get(`/idempotency/api/records/${(await recordIn('parked')).id}`);
    for (const { text } of [all, one, await get('/idempotency/api/overview')]) {
      expect(text).not.toMatch(
        new RegExp([...Object.values(KEYS), SCOPE, ERROR, RESULT].join('|')),
      );
    }
    expect(await recordIn('parked')).toMatchObject({
      key: '…4713',
      scope: '…',
      lastError: { name: 'TypeError' },
    });
    expect(Object.keys(await recordIn('completed')).sort()).toEqual(
      'attemptsFinished attemptsStarted claimedAt expiresAt fence id key lastError leaseUntil operation scope state'.split(
        ' ',
      ),
    );
  });

  it('shows them with `reveal`, and no result then either', async () => {
    await start({ guards: [AdminGuard], reveal: true });
    expect(await recordIn('parked')).toMatchObject({
      key: KEYS.parked,
      scope: SCOPE,
      lastError: { name: 'TypeError', message: ERROR },
    });
    const { id } = await recordIn('completed');
    expect((await get(`/idempotency/api/records/${id}`)).text).not.toContain(RESULT);
  });

  it('shows attempts and the names of finished steps, and not their results', async () => {
    await start();
    const { id } = await recordIn('uncertain');
    const shown = await get(`/idempotency/api/records/${id}`);
    expect(shown.json()).toMatchObject({
      record: { id, attemptsStarted: 1 },
      steps: ['reserve stock', 'charge card'],
    });
    expect(shown.text).not.toContain(RESULT);
    expect((await get(`/idempotency/api/records/${'0'.repeat(32)}`)).status).toBe(404);
    expect((await get('/idempotency/api/records/x')).status).toBe(404);
  });

  it('counts records by state, lists them by state and scope, and finds the one of a key', async () => {
    await start();
    expect((await get('/idempotency/api/overview')).json()).toMatchObject({
      store: 'memory',
      counts: { completed: 1, uncertain: 1, parked: 1, tombstone: 0, 'in-progress': 0, expired: 0 },
      hasOutbox: false,
    });
    expect((await records()).length).toBe(3);
    const scoped = (scope: string): Header => ['x-idempotency-scope', encodeURIComponent(scope)];
    expect((await records('', [scoped(SCOPE)])).length).toBe(3);
    expect(await records('', [scoped('bob')])).toEqual([]);
    const key: Header = ['x-idempotency-key', encodeURIComponent(KEYS.parked)];
    const operation: Header = ['x-idempotency-operation', 'Orders.pay'];
    const found = await records('', [scoped(SCOPE), key, operation]);
    expect(found.map(({ state }) => state)).toEqual(['parked']);
    const wrong = await get('/idempotency/api/records?state=gone');
    expect(wrong.status).toBe(400);
    expect(wrong.json()).toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
  });

  it('carries out what somebody decides about a record', async () => {
    await start();
    const { service } = app;
    const whose = { scope: SCOPE, operation: 'Orders.pay' };
    const act = async (action: string, { id, fence }: Shown): Promise<unknown> =>
      (await post(`/idempotency/api/records/${id}/${action}?fence=${fence}`)).json();

    const uncertain = await recordIn('uncertain');
    expect(await act('redrive', uncertain)).toEqual({ done: false });
    expect(await act('done', uncertain)).toEqual({ done: true });
    await expect(service.execute({ ...whose, key: KEYS.uncertain }, () => 1)).rejects.toMatchObject(
      { code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' },
    );
    expect(await act('absent', uncertain)).toEqual({ done: false });

    const parked = await recordIn('parked');
    expect(await act('redrive', parked)).toEqual({ done: true });
    const names: string[] = [];
    await service.execute({ ...whose, key: KEYS.parked }, async (once) => {
      await once.step('reserve stock', () => names.push('reserve'));
      await once.step('charge card', () => names.push('charge'));
    });
    expect(names).toEqual([]);

    const [completed] = (await records('?state=completed')).filter(({ key }) => key === '…4711');
    expect(await act('forget', completed as Shown)).toEqual({ done: true });
    expect(await service.execute({ ...whose, key: KEYS.completed }, () => 'again')).toBe('again');
    expect((await post(`/idempotency/api/records/${parked.id}/drop`)).status).toBe(404);
  });

  describe('the outcome that somebody has found out', () => {
    const resolve = ({ id, fence }: Shown, verdict: unknown): Promise<RawResponse> =>
      send(app, {
        path: `/idempotency/api/records/${id}/resolve?fence=${fence}`,
        headers: OURS,
        body: { verdict: typeof verdict === 'string' ? verdict : JSON.stringify(verdict) },
      });
    const charge = () => send(app, { path: '/charges', key: 'c-1', body: {} });
    const uncertainCharge = async (): Promise<Shown> => {
      await charge();
      const all = (await records('?state=uncertain')) as (Shown & { operation: string })[];
      return all.find(({ operation }) => operation === 'http') as Shown;
    };

    it.each([true, false])('of a request is replayed (bodies parsed: %s)', async (isParsed) => {
      // the key alone counts where nobody reads the body
      const fingerprint = ['method', 'path'] as const;
      await start(undefined, undefined, isParsed ? {} : { fingerprint }, isParsed);
      const record = await uncertainCharge();
      const response = { status: 201, headers: { Location: '/charges/7' }, body: { id: 'ch_7' } };
      expect((await resolve(record, { response })).json()).toEqual({ done: true });
      const replay = await charge();
      expect(replay.status).toBe(201);
      expect(replay.header('idempotent-replayed')).toBe('true');
      expect(replay.header('location')).toBe('/charges/7');
      expect(replay.json()).toEqual({ id: 'ch_7' });
      expect((await resolve(record, { response })).json()).toEqual({ done: false });
    });

    it.each([
      ['as members', (body: object) => ({ ...body, changed: true })],
      ['as text', (body: object) => JSON.stringify(body)],
      ['as bytes', (body: object) => Buffer.from(JSON.stringify(body))],
    ])('of a method is what it answers, with bodies read %s', async (_, read) => {
      await start(undefined, (nest) =>
        nest.useGlobalInterceptors({
          intercept: (context, next) => {
            const request = context.switchToHttp().getRequest<{ method: string; body: object }>();
            if (request.method === 'POST') request.body = read(request.body) as object;
            return next.handle();
          },
        }),
      );
      const result = { createdAt: '2026-11-24', n: [1, null] };
      const given = await resolve(await recordIn('uncertain'), { result });
      expect(given.json()).toEqual({ done: true });
      const whose = { scope: SCOPE, operation: 'Orders.pay', key: KEYS.uncertain };
      expect(await app.service.execute(whose, () => 'again')).toEqual(result);
    });

    it.each([
      ['a result for a request', { result: 1 }, /outcome of a request is a response/],
      ['a status that is none', { response: { status: 999 } }, /cannot be sent/],
      [
        'a header of the moment',
        { response: { status: 200, headers: { Date: 'x' } } },
        /a header 'date'/,
      ],
      ['neither', { nothing: 1 }, /the verdict is/],
      ['no JSON', '{', /holds no verdict/],
    ])('is refused for %s, and changes nothing', async (_, verdict, sentence) => {
      await start();
      const record = await uncertainCharge();
      const answer = await resolve(record, verdict);
      expect(answer.status).toBe(400);
      expect(answer.json<{ detail: string }>().detail).toMatch(sentence);
      expect((await charge()).status).toBe(409);
    });

    it('is refused for another attempt than the one that was looked at', async () => {
      await start();
      const record = await recordIn('uncertain');
      const before = { ...record, fence: String(BigInt(record.fence) - 1n) };
      expect((await resolve(before, { result: 1 })).json()).toEqual({ done: false });
      expect((await recordIn('uncertain')).id).toBe(record.id);
    });
  });

  describe('with options from a factory', () => {
    it('is where the factory says, and shows what it says, behind guards that stand beside it', async () => {
      class Config {
        readonly path = '/ops/keys';
      }
      @Module({ providers: [Config], exports: [Config] })
      class ConfigModule {}
      await start(
        IdempotencyDashboardModule.forRootAsync({
          imports: [ConfigModule],
          inject: [Config],
          useFactory: async ({ path }: Config) => ({ path, reveal: true }),
          guards: [AdminGuard],
          decorators: [SetMetadata('marked', true)],
        }),
      );
      expect((await get('/ops/keys', [PAGE])).status).toBe(403);
      expect((await get('/ops/keys/api/overview', [PAGE])).status).toBe(403);
      expect((await get('/ops/keys/api/overview', [ADMIN])).status).toBe(403);
      const page = await get('/ops/keys');
      expect(page.text).toContain('"./keys/files/dashboard.js"');
      expect((await get('/ops/keys/files/dashboard.js')).status).toBe(200);
      expect((await get('/ops/keys/api/records')).text).toContain(KEYS.parked);
      expect((await get('/idempotency')).status).toBe(404);
    });

    it('takes a class, and stands at its usual place by default', async () => {
      class Options {
        createDashboardOptions() {
          return {};
        }
      }
      await start(
        IdempotencyDashboardModule.forRootAsync({ useClass: Options, guards: [AdminGuard] }),
      );
      expect((await get('/idempotency')).status).toBe(200);
      expect((await get('/idempotency', [])).status).toBe(403);
      expect((await get('/idempotency/api/records')).text).not.toContain(KEYS.parked);
    });
  });

  it('gives a parked operation up', async () => {
    await start();
    const { id, fence } = await recordIn('parked');
    const given = await post(`/idempotency/api/records/${id}/discard?fence=${fence}`);
    expect(given.json()).toEqual({ done: true });
    expect((await recordIn('tombstone')).id).toBe(id);
  });

  it('carries out nothing on another attempt than the one that was looked at', async () => {
    await start();
    const { id, fence } = await recordIn('uncertain');
    const before = String(BigInt(fence) - 1n);
    const late = await post(`/idempotency/api/records/${id}/absent?fence=${before}`);
    expect(late.json()).toEqual({ done: false });
    expect((await recordIn('uncertain')).id).toBe(id);
  });

  it('leaves a running attempt alone', async () => {
    await start();
    let end = (): void => undefined;
    const running = app.service.execute({ key: 'slow' }, () => new Promise<void>((r) => (end = r)));
    await eventually(
      async () => (await recordIn('in-progress')) !== undefined,
      'a running attempt',
    );
    const { id, fence } = await recordIn('in-progress');
    const forget = await post(`/idempotency/api/records/${id}/forget?fence=${fence}`);
    expect(forget.json()).toEqual({ done: false });
    end();
    await running;
  });

  it('keeps an outcome that somebody gave as long as its key may pass for a fresh one', async () => {
    const hour = 3_600_000;
    await start({ guards: [AdminGuard] }, undefined, { ttl: hour, maskKey: () => null });
    const { id, fence } = await recordIn('uncertain');
    await post(`/idempotency/api/records/${id}/done?fence=${fence}`);
    const done = (await recordIn('tombstone')) as Shown & { expiresAt: string };
    expect(Date.parse(done.expiresAt)).toBeGreaterThan(Date.now() + 1.9 * hour);
  });

  it('counts what happens beside the hooks of the application', async () => {
    const told: string[] = [];
    const hooks = { onReplayed: () => void told.push('replayed') };
    await start({ guards: [AdminGuard] }, undefined, { hooks });
    const whose = { scope: SCOPE, operation: 'Orders.pay' };
    await app.service.execute({ ...whose, key: KEYS.completed }, () => 'no');
    const rejected = app.service.execute({ ...whose, key: KEYS.parked }, () => 'no');
    await expect(rejected).rejects.toThrow();
    const series = (await get('/idempotency/api/activity?minutes=1440')).json<
      Record<string, number[]>
    >();
    const sum = (name: string) => series[name]?.reduce((a, b) => a + b, 0);
    expect(['executed', 'replayed', 'rejected', 'takenOver'].map(sum)).toEqual([1, 1, 1, 0]);
    expect(told).toEqual(['replayed']);
  });

  it('stays where it is behind a prefix, whatever version is asked for, and what wraps answers', async () => {
    await start({ path: 'ops/records', guards: [new AdminGuard()] }, (nest) => {
      nest.setGlobalPrefix('api');
      nest.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
      nest.useGlobalInterceptors({
        intercept: (_, next) => next.handle().pipe(map((data: unknown) => ({ data }))),
      });
    });
    const page = await get('/api/ops/records');
    expect(page.text).toContain('"./records/files/dashboard.js"');
    expect((await get('/api/ops/records/files/dashboard.js')).status).toBe(200);
    expect((await get('/api/ops/records/api/overview')).json()).toMatchObject({ store: 'memory' });
  });

  it('is passed on to its guards by a global guard that its decorators speak to', async () => {
    const OPEN = 'is-open';
    @Injectable()
    class GlobalGuard implements CanActivate {
      constructor(@Inject(Reflector) private readonly reflector: Reflector) {}
      canActivate(context: ExecutionContext): boolean {
        return this.reflector.get(OPEN, context.getClass()) === true;
      }
    }
    const lockAll = (nest: INestApplication) =>
      void nest.useGlobalGuards(new GlobalGuard(nest.get(Reflector)));
    await start({ guards: [AdminGuard] }, lockAll);
    expect((await get('/idempotency')).status).toBe(403);
    await start({ guards: [AdminGuard], decorators: [SetMetadata(OPEN, true)] }, lockAll);
    expect((await get('/idempotency')).status).toBe(200);
    expect((await get('/idempotency', [PAGE])).status).toBe(403);
  });

  it('gives its guards what they inject from `imports`', async () => {
    class Staff {
      readonly names = ['admin'];
    }
    @Module({ providers: [Staff], exports: [Staff] })
    class StaffModule {}
    @Injectable()
    class StaffGuard implements CanActivate {
      constructor(@Inject(Staff) private readonly staff: Staff) {}
      canActivate(context: ExecutionContext): boolean {
        const request = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
        return this.staff.names.includes(request.headers['x-user'] ?? '');
      }
    }
    await start({ guards: [StaffGuard], imports: [StaffModule] });
    expect((await get('/idempotency')).status).toBe(200);
    expect((await get('/idempotency', [])).status).toBe(403);
  });
});

describe('the dashboard', () => {
  const production = async <T>(environment: string, work: () => Promise<T>): Promise<T> => {
    const before = process.env.NODE_ENV;
    process.env.NODE_ENV = environment;
    try {
      return await work();
    } finally {
      process.env.NODE_ENV = before;
    }
  };
  const start = async (options: DashboardOptions): Promise<void> => {
    apps.push(await startDashboard('express', options));
  };

  it.each([
    ['production', { open: true }],
    ['production', { open: true, guards: [] }],
    ['production', {}],
    ['development', {}],
    ['development', { guards: [] }],
  ])('does not start open in %s with %j', async (environment, options) => {
    await expect(production(environment, () => start(options))).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringMatching(/it has no guards.*Write guards: \[AdminGuard\]/),
    });
  });

  it.each([
    ['production', () => ({ open: true })],
    ['development', () => ({})],
  ])('does not start open in %s with a factory', async (environment, useFactory) => {
    const dashboard = IdempotencyDashboardModule.forRootAsync({ useFactory });
    await expect(
      production(environment, () => startDashboard('express', dashboard)),
    ).rejects.toThrow(/it has no guards.*Write guards: \[AdminGuard\]/);
  });

  it('starts open where a factory says so elsewhere', async () => {
    const dashboard = IdempotencyDashboardModule.forRootAsync({
      useFactory: () => ({ open: true }),
    });
    await production('development', async () => {
      apps.push(await startDashboard('express', dashboard));
    });
  });

  it.each([
    [{ path: '/a/:id' }, /option 'path' is '\/a\/:id'/],
    [{ opened: true }, /there is no option 'opened'/],
    [{ guards: [AdminGuard] }, /its factory answered 'guards'.*beside/],
    [undefined, /its factory answered undefined/],
  ])('does not start with a factory that answers %j', async (answer, sentence) => {
    const dashboard = IdempotencyDashboardModule.forRootAsync({
      useFactory: () => answer as object,
      guards: [AdminGuard],
    });
    await expect(startDashboard('express', dashboard)).rejects.toThrow(sentence);
  });

  it.each([
    [{ guards: ['admin'] }, /option 'guards'/],
    [{ reveal: true }, /'reveal' stands beside its factory/],
  ])('refuses %j beside a factory', (beside, sentence) => {
    const options = { useFactory: () => ({}), ...beside };
    expect(() => IdempotencyDashboardModule.forRootAsync(options as object)).toThrow(sentence);
  });

  it('starts with guards in production, and open where that is said elsewhere', async () => {
    await production('production', () => start({ guards: [AdminGuard] }));
    await production('development', () => start({ open: true }));
  });

  it.each([
    [{ path: '/a/:id' }, /option 'path' is '\/a\/:id'/],
    [{ path: '/' }, /option 'path'/],
    [{ guards: ['admin'] }, /option 'guards'/],
    [{ opened: true }, /there is no option 'opened'/],
    [undefined, /its options are undefined/],
  ])('refuses the options %j', (options, sentence) => {
    expect(() => IdempotencyDashboardModule.forRoot(options as DashboardOptions)).toThrow(sentence);
  });

  it('does not start without an IdempotencyModule', async () => {
    const alone = startApp('express', {
      imports: [IdempotencyDashboardModule.forRoot({ guards: [AdminGuard] })],
    });
    await expect(alone).rejects.toThrow('there is no IdempotencyModule');
  });

  it('shows the messages of the outbox, and sends or discards parked ones', async () => {
    const sent: string[] = [];
    let isUp = false;
    const app = await startDashboardWithOutbox({ guards: [AdminGuard] }, ({ id }) => {
      if (!isUp) throw new Error('down');
      sent.push(id);
    });
    apps.push(app);
    const path = '/idempotency/api/outbox';
    const list = async () =>
      (await send(app, { method: 'GET', path, headers: OURS })).json<{
        parked: { position: string; id: string; orderingKey: string; lastError: string }[];
        pending: unknown[];
      }>();
    const act = async (position: string | undefined, action: string) =>
      (await send(app, { path: `${path}/${position}/${action}`, headers: OURS })).json();

    const { Outbox } = await import('nestjs-idempotency/outbox');
    const outbox = app.app.get(Outbox);
    await outbox.emit('order.placed', { card: RESULT }, { id: 'order-1', orderingKey: SCOPE });
    await outbox.emit('order.placed', {}, { id: 'order-2', delay: '1h' });
    await outbox.emit('order.placed', {}, { id: 'order-3' });
    await eventually(async () => (await list()).parked.length === 2, 'two parked messages');
    const shown = await list();
    expect(shown.pending).toMatchObject([{ pattern: 'order.placed' }]);
    expect(JSON.stringify(shown)).not.toMatch(new RegExp(`${RESULT}|${SCOPE}|order-\\d`));
    expect(shown.parked[0]).toMatchObject({ orderingKey: '…', lastError: 'Error' });

    isUp = true;
    const [first, second] = shown.parked;
    expect(await act(first?.position, 'redrive')).toEqual({ done: true });
    expect(await act(second?.position, 'discard')).toEqual({ done: true });
    await eventually(() => sent.length === 1, 'a message that is sent again');
    expect(sent).toEqual(['order-1']);
    expect(await act(first?.position, 'redrive')).toEqual({ done: false });
    expect((await list()).parked).toEqual([]);
  });
});

describe('the activity', () => {
  const MINUTE = 60_000;
  let now = 1_000_000 * MINUTE;
  const tell = (activity: Activity, count: number) => {
    for (let n = 0; n < count; n += 1) activity.hooks.onExecuted?.({} as never);
  };

  it('is counted by the minute, and forgotten after a day', () => {
    const activity = new Activity(() => now);
    tell(activity, 2);
    now += MINUTE;
    tell(activity, 3);
    expect(activity.series(60).executed.slice(-3)).toEqual([0, 2, 3]);
    expect(activity.series(60).start).toBe(now - 59 * MINUTE);
    now += 59 * MINUTE;
    expect(activity.series(60).executed[0]).toBe(3);
    expect(activity.series(1440).executed.reduce((a, b) => a + b)).toBe(5);
    now += 1380 * MINUTE;
    tell(activity, 7);
    expect(activity.series(1440).executed.reduce((a, b) => a + b)).toBe(7);
  });

  it.each([
    [60, 60, 1],
    [360, 72, 5],
    [1440, 72, 20],
    [NaN, 60, 1],
  ])('of %d minutes has %d buckets', (wanted, buckets, minutes) => {
    const series = new Activity(() => now).series(wanted);
    expect([series.executed.length, series.step]).toEqual([buckets, minutes * MINUTE]);
    expect(series.start + buckets * series.step).toBeGreaterThan(now);
  });
});
