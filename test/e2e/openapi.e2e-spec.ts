import SwaggerParser from '@apidevtools/swagger-parser';
import {
  Body,
  Controller,
  Get,
  HttpCode,
  Module,
  Post,
  Version,
  VersioningType,
} from '@nestjs/common';
import {
  ApiHeader,
  ApiResponse,
  DocumentBuilder,
  SwaggerModule,
  type OpenAPIObject,
} from '@nestjs/swagger';
import {
  Idempotent,
  IdempotencyModule,
  memoryStore,
  type IdempotencyModuleOptions,
  type Problem,
} from 'nestjs-idempotency';
import { documentIdempotency } from 'nestjs-idempotency/openapi';
import { platforms, send, startApp, type Platform, type TestApp } from '../support/http.js';

@Controller('orders')
class OrdersController {
  @Post()
  @Idempotent()
  place(@Body() body: unknown) {
    return { body };
  }

  @Post('quote')
  @HttpCode(200)
  quote() {
    return {};
  }

  @Post('pay')
  @Version('2')
  @Idempotent({
    header: 'X-Token',
    required: false,
    keyPattern: /^[0-9a-f]{8}$/,
    errors: 'store-all',
  })
  @ApiHeader({ name: 'x-token', description: 'The number of the till.' })
  @ApiResponse({ status: 201, description: 'Paid.' })
  @ApiResponse({ status: 402, description: 'Declined.' })
  @ApiResponse({ status: 409, description: 'Out of stock.', content: { 'application/json': {} } })
  pay() {
    return {};
  }

  @Post('strict')
  @Idempotent({
    strictKey: true,
    maxKeyLength: 40,
    keyPattern: /^[a-z]+$/i,
    expiredKeys: 'rerun',
    authorizeReplay: () => false,
    maxKeysPerScope: 100,
  })
  strict() {
    return {};
  }
}

abstract class Resource {
  @Post()
  @Idempotent()
  create() {
    return {};
  }
}

@Controller('cats')
class CatsController extends Resource {}

@Controller('dogs')
@Idempotent({ header: 'Dog-Key' })
class DogsController extends Resource {
  @Get()
  list() {
    return [];
  }
}

const config = (version = '3.0.0') =>
  new DocumentBuilder().setTitle('shop').setVersion('1').setOpenAPIVersion(version).build();

const operation = (document: OpenAPIObject, path: string, method: 'get' | 'post' = 'post') => {
  const found = document.paths[path]?.[method];
  if (found === undefined) throw new Error(`no ${method} ${path}`);
  return found as unknown as {
    parameters: { in: string; name: string; required: boolean; schema: object }[];
    responses: Record<string, { description: string; content: object; headers?: object }>;
  };
};
const keyOf = (document: OpenAPIObject, path: string, method?: 'get' | 'post') =>
  operation(document, path, method).parameters.find((parameter) => parameter.in === 'header');

describe.each(platforms)('the OpenAPI document on %s', (platform) => {
  const started: TestApp[] = [];
  afterEach(() => Promise.all(started.splice(0).map((app) => app.close())));

  const start = (options: IdempotencyModuleOptions = {}, version?: string) =>
    serve(platform, started, options, version);
  const read = async (app: TestApp): Promise<OpenAPIObject> =>
    (await send(app, { method: 'GET', path: '/docs-json' })).json();

  it.each(['3.0.0', '3.1.0'])('is valid (%s)', async (version) => {
    const document = await read(await start({}, version));
    expect(document.openapi).toBe(version);
    await SwaggerParser.validate(structuredClone(document) as never);
    expect(JSON.stringify(document)).not.toContain('nestjs-idempotency-');
  });

  it('tells of the key of exactly the routes that take one', async () => {
    const document = await read(await start());
    const keys = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => [
        `${method} ${path}`,
        keyOf(document, path, method as 'post')?.name,
      ]),
    );
    expect(Object.fromEntries(keys)).toEqual({
      'post /api/v1/orders': 'Idempotency-Key',
      'post /api/v1/orders/quote': undefined,
      'post /api/v2/orders/pay': 'X-Token',
      'post /api/v1/orders/strict': 'Idempotency-Key',
      'post /api/v1/cats': 'Idempotency-Key',
      'post /api/v1/dogs': 'Dog-Key',
      'get /api/v1/dogs': undefined,
    });
    expect(Object.keys(operation(document, '/api/v1/orders/quote').responses)).toEqual(['200']);
    expect(Object.keys(operation(document, '/api/v1/dogs', 'get').responses)).toEqual(['200']);
  });

  it('tells the rules of a key as the options have them', async () => {
    const document = await read(await start({ header: 'Once', maxKeyLength: 64 }));
    expect(keyOf(document, '/api/v1/orders')).toMatchObject({
      name: 'Once',
      required: true,
      schema: { type: 'string', minLength: 1, maxLength: 64 },
    });
    expect(keyOf(document, '/api/v2/orders/pay')).toMatchObject({
      required: false,
      description: 'The number of the till.',
      schema: { pattern: '^[0-9a-f]{8}$' },
    });
    const { schema, ...strict } = keyOf(document, '/api/v1/orders/strict')!;
    expect(strict).toMatchObject({ description: expect.stringMatching(/1 to 40 .* quotes/) });
    const { pattern } = schema as { pattern: string };
    const accepts = (value: string) => new RegExp(pattern).test(value);
    expect(['"a\\"b"', 'ab', '"ab'].map(accepts)).toEqual([true, false, false]);
  });

  it('tells of the problems that a route may answer, beside what is written there', async () => {
    const document = await read(await start());
    const { responses } = operation(document, '/api/v1/orders');
    expect(Object.keys(responses).sort()).toEqual(['201', '400', '409', '422', '503']);
    for (const status of ['400', '409', '422', '503']) {
      expect(responses[status]!.content).toEqual({
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/IdempotencyProblem' },
        },
      });
    }
    expect(responses['400']!.description).toContain('IDEMPOTENCY_KEY_MISSING');
    expect(responses['409']!.description).toContain('IDEMPOTENCY_KEY_EXPIRED');
    expect(responses['409']!.headers).toHaveProperty('Retry-After');

    const pay = operation(document, '/api/v2/orders/pay').responses;
    expect(Object.keys(pay['409']!.content)).toEqual([
      'application/json',
      'application/problem+json',
    ]);
    expect(pay['409']!.description).toMatch(/^Out of stock\. Or: .*IDEMPOTENCY_IN_PROGRESS/);
    expect(pay['400']!.description).not.toContain('IDEMPOTENCY_KEY_MISSING');
    const { responses: strict } = operation(document, '/api/v1/orders/strict');
    expect(strict['409']!.description).not.toContain('IDEMPOTENCY_KEY_EXPIRED');
    expect(strict['403']!.description).toBe('`IDEMPOTENCY_REPLAY_FORBIDDEN`');
    expect(strict['429']!.description).toBe('`IDEMPOTENCY_TOO_MANY_KEYS`');
    expect(strict['429']!.headers).toHaveProperty('Retry-After');
  });

  it('tells of the header of a replay where there may be one', async () => {
    const document = await read(await start());
    const replayed = (path: string) =>
      Object.entries(operation(document, path).responses)
        .filter(([, { headers }]) => headers && 'Idempotent-Replayed' in headers)
        .map(([status]) => status);
    expect(replayed('/api/v1/orders')).toEqual(['201']);
    // its failures are kept too, but not those of the moment
    expect(replayed('/api/v2/orders/pay')).toEqual(['201', '402']);
  });

  it('tells the truth', async () => {
    const app = await start();
    const document = await read(app);
    const { responses } = operation(document, '/api/v1/orders');
    const order = (key?: string, body: object = {}) =>
      send(app, { path: '/api/v1/orders', body, ...(key !== undefined && { key }) });
    const answers = [
      await order('"one"'),
      await order('"one"'),
      await order(),
      await order('"one"', { other: true }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 400, 422]);
    expect(Object.keys(responses['201']!.headers!)).toEqual(['Idempotent-Replayed']);
    expect(answers[1]!.header('Idempotent-Replayed')).toBe('true');
    const { properties, required } = document.components!.schemas!.IdempotencyProblem as {
      properties: { code: { enum: string[] } };
      required: string[];
    };
    for (const answer of answers.slice(2)) {
      const problem = answer.json<Problem>();
      expect(Object.keys(problem).sort()).toEqual(required.toSorted());
      expect(properties.code.enum).toContain(problem.code);
      expect(responses[answer.status]!.description).toContain(problem.code);
      expect(answer.header('Content-Type')).toMatch(
        Object.keys(responses[answer.status]!.content)[0]!,
      );
    }
  });

  it('is made of the options of its own application, and leaves nothing behind', async () => {
    const first = await start({ header: 'First' });
    const second = await start({ header: 'Second' });
    const documents = [await read(first), await read(second), await read(first)];
    const names = documents.map((document) => keyOf(document, '/api/v1/orders')!.name);
    expect(names).toEqual(['First', 'Second', 'First']);
    const plain = SwaggerModule.createDocument(first.app, config());
    expect(operation(plain, '/api/v1/orders').parameters).toEqual([]);
    expect(JSON.stringify(plain)).not.toMatch(/idempotency/i);
  });

  it('leaves nothing behind when it cannot be made', async () => {
    const { app } = await start();
    const fail = () => {
      throw new Error('no document');
    };
    expect(() => documentIdempotency(app, fail)).toThrow('no document');
    const plain = SwaggerModule.createDocument(app, config());
    expect(JSON.stringify(plain)).not.toMatch(/idempotency/i);
  });

  it('follows each module where they are not global', async () => {
    const feature = (controller: typeof CatsController, header: string) => {
      @Module({
        imports: [IdempotencyModule.forRoot({ store: memoryStore(), isGlobal: false, header })],
        controllers: [controller],
      })
      class Feature {}
      return Feature;
    };
    const app = await startApp(platform, {
      imports: [
        feature(OrdersController as never, 'Of-Orders'),
        feature(CatsController, 'Of-Cats'),
      ],
    });
    started.push(app);
    const document = documentIdempotency(app.app, () =>
      SwaggerModule.createDocument(app.app, config()),
    );
    const names = ['/orders', '/cats'].map((path) => keyOf(document, path)!.name);
    expect(names).toEqual(['Of-Orders', 'Of-Cats']);
  });
});

async function serve(
  platform: Platform,
  started: TestApp[],
  options: IdempotencyModuleOptions,
  version?: string,
): Promise<TestApp> {
  const app = await startApp(
    platform,
    {
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), ...options })],
      controllers: [OrdersController, CatsController, DogsController],
    },
    {
      configure: (nest) => {
        nest.setGlobalPrefix('api');
        nest.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
        const create = () => SwaggerModule.createDocument(nest, config(version));
        SwaggerModule.setup('docs', nest, () => documentIdempotency(nest, create), { ui: false });
      },
    },
  );
  started.push(app);
  return app;
}
