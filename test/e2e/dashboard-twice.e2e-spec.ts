/** Two dashboards in one application: each at a place of its own, behind its own guards. */
import 'reflect-metadata';
import { IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { IdempotencyDashboardModule } from 'nestjs-idempotency/dashboard';
import { AdminGuard } from '../support/dashboard.js';
import { send, startApp, type TestApp } from '../support/http.js';

const apps: TestApp[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function start(second: ReturnType<typeof IdempotencyDashboardModule.forRoot>) {
  const app = await startApp('express', {
    imports: [
      IdempotencyModule.forRoot({ store: memoryStore() }),
      IdempotencyDashboardModule.forRoot({ path: '/records', guards: [AdminGuard] }),
      second,
    ],
  });
  apps.push(app);
  return app;
}

it('at two places', async () => {
  const app = await start(IdempotencyDashboardModule.forRoot({ path: '/dev', open: true }));
  const get = async (path: string) => (await send(app, { method: 'GET', path })).status;
  expect([await get('/records'), await get('/dev')]).toEqual([403, 200]);
});

// whoever came first would answer, with its guards
it.each([
  ['written alike', IdempotencyDashboardModule.forRoot({ path: '/records', open: true })],
  ['written otherwise', IdempotencyDashboardModule.forRoot({ path: 'records/', open: true })],
  [
    'of a factory',
    IdempotencyDashboardModule.forRootAsync({
      useFactory: () => ({ path: 'Records', open: true }),
    }),
  ],
])('not at one, %s', async (_how, second) => {
  await expect(start(second)).rejects.toThrow(
    `there is another one at 'records'. Give each a path of its own, such as path: '/idempotency-2'.`,
  );
});
