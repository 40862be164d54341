import 'reflect-metadata';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Module, Post, UseInterceptors, type INestApplication } from '@nestjs/common';
import multipart from '@fastify/multipart';
import {
  FileFieldsInterceptor,
  FileInterceptor,
  FilesInterceptor,
  MulterModule,
  type NestExpressApplication,
} from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import {
  diskStorage as fastifyDiskStorage,
  FileInterceptor as FastifyFileInterceptor,
  FileStreamInterceptor as FastifyFileStreamInterceptor,
} from '@nestjs/platform-fastify/multipart';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;
const ran = (): { run: number } => ({ run: (runs += 1) });

const uploads = await mkdtemp(join(tmpdir(), 'idempotency-uploads-'));
afterAll(() => rm(uploads, { recursive: true }));

/** Keeps files elsewhere, as storage for object stores does. */
const elsewhere = {
  _handleFile(
    _request: unknown,
    file: { stream: NodeJS.ReadableStream },
    done: (error: unknown, info: object) => void,
  ): void {
    file.stream.on('end', () => done(null, { key: 'bucket/1', size: 5 })).resume();
  },
  _removeFile: (_request: unknown, _file: unknown, done: (error: unknown) => void): void =>
    done(null),
};

@Controller('upload')
class ExpressUploads {
  @Post('memory')
  @Idempotent()
  @UseInterceptors(FileInterceptor('file'))
  memory() {
    return ran();
  }

  @Post('memory-reversed')
  @UseInterceptors(FileInterceptor('file'))
  @Idempotent()
  memoryReversed() {
    return ran();
  }

  @Post('disk')
  @Idempotent()
  @UseInterceptors(FileInterceptor('file', { dest: uploads }))
  disk() {
    return ran();
  }

  @Post('files')
  @Idempotent()
  @UseInterceptors(FilesInterceptor('file'))
  files() {
    return ran();
  }

  @Post('file-fields')
  @Idempotent()
  @UseInterceptors(FileFieldsInterceptor([{ name: 'file' }, { name: 'other' }]))
  fileFields() {
    return ran();
  }

  @Post('elsewhere')
  @Idempotent()
  @UseInterceptors(FileInterceptor('file', { storage: elsewhere as never }))
  elsewhere() {
    return ran();
  }

  @Post('elsewhere-chosen')
  @Idempotent({ fingerprint: ({ path }) => path })
  @UseInterceptors(FileInterceptor('file', { storage: elsewhere as never }))
  elsewhereChosen() {
    return ran();
  }

  @Post('chosen')
  @Idempotent({ fingerprint: ({ body }) => (body as { files: unknown }).files })
  @UseInterceptors(FileInterceptor('file'))
  chosen() {
    return ran();
  }

  @Post('unparsed')
  @Idempotent()
  unparsed() {
    return ran();
  }
}

@Controller('class-upload')
@UseInterceptors(FileInterceptor('file'))
@Idempotent()
class ExpressClassUploads {
  @Post()
  place() {
    return ran();
  }
}

@Controller('upload')
class FastifyUploads {
  @Post('memory')
  @Idempotent()
  @UseInterceptors(FastifyFileInterceptor('file'))
  memory() {
    return ran();
  }

  @Post('disk')
  @UseInterceptors(
    FastifyFileInterceptor('file', { storage: fastifyDiskStorage({ destination: uploads }) }),
  )
  @Idempotent()
  disk() {
    return ran();
  }

  @Post('stream')
  @UseInterceptors(FastifyFileStreamInterceptor('file'))
  @Idempotent()
  stream() {
    return ran();
  }

  @Post('unparsed')
  @Idempotent()
  unparsed() {
    return ran();
  }
}

@Controller('upload')
class AttachedUploads {
  @Post('attached')
  @Idempotent()
  attached() {
    return ran();
  }
}

@Controller('bytes')
class BytesController {
  @Post()
  @Idempotent()
  place() {
    return ran();
  }

  @Post('without')
  @Idempotent({ fingerprint: ['method', 'path'] })
  without() {
    return ran();
  }
}

const idempotency = (): ReturnType<typeof IdempotencyModule.forRoot> =>
  IdempotencyModule.forRoot({ store: memoryStore() });

interface Part {
  readonly name: string;
  readonly value: string | Buffer;
  readonly filename?: string;
}

const note = { name: 'note', value: 'one' };
const file = { name: 'file', value: Buffer.from([0, 1, 2, 3, 255]), filename: 'a.bin' };

describe('multipart', () => {
  let keys = 0;
  beforeEach(() => {
    runs = 0;
    keys += 1;
  });

  const post = (app: TestApp, path: string, parts: readonly Part[], boundary = 'xxBOUNDARYxx') => {
    const type = `multipart/form-data; boundary=${boundary}`;
    const body = multipartBody(parts, boundary);
    return send(app, { path, key: `upload-${keys}`, headers: [['content-type', type]], body });
  };

  const expectContentToCount = async (app: TestApp, path: string): Promise<void> => {
    const first = await post(app, path, [note, file]);
    expect(first.json()).toEqual({ run: 1 });
    const again = await post(app, path, [note, file], 'another-boundary');
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.header('idempotent-replayed')).toBe('true');
    const others: Part[][] = [
      [{ ...note, value: 'two' }, file],
      [file],
      [note, { ...file, value: Buffer.from([0, 1, 2, 4, 255]) }],
      [note],
    ];
    for (const parts of others) {
      const other = await post(app, path, parts);
      expect([other.status, other.json()]).toMatchObject([422, { code: 'IDEMPOTENCY_KEY_REUSED' }]);
    }
    expect((await post(app, path, [note, file])).text).toBe(first.text);
    expect(runs).toBe(1);
  };

  const expectMisconfigured = (response: RawResponse): void => {
    expect(response.json()).toMatchObject({ status: 500, code: 'IDEMPOTENCY_MISCONFIGURED' });
    expect(runs).toBe(0);
  };

  describe('on express', () => {
    let app: TestApp;
    beforeAll(async () => {
      @Module({ imports: [MulterModule.register({})] })
      class Uploads {}
      app = await startApp('express', {
        imports: [idempotency(), Uploads],
        controllers: [ExpressUploads, ExpressClassUploads],
      });
    });
    afterAll(() => app.close());

    it.each([
      '/upload/memory',
      '/upload/memory-reversed',
      '/upload/disk',
      '/upload/files',
      '/upload/file-fields',
      '/class-upload',
    ])('fields and file contents count: %s', (path) => expectContentToCount(app, path));

    it('the content of the last of many files counts', async () => {
      const files = (last: string): Part[] =>
        Array.from({ length: 5 }, (_, index) => ({
          name: 'file',
          filename: `${index}.txt`,
          value: index === 4 ? last : 'same',
        }));
      const first = await post(app, '/upload/files', files('a'));
      expect((await post(app, '/upload/files', files('b'))).status).toBe(422);
      expect((await post(app, '/upload/files', files('a'))).text).toBe(first.text);
    });

    it('a file whose content is out of reach is refused, and nothing runs', async () => {
      expectMisconfigured(await post(app, '/upload/elsewhere', [file]));
      expect((await post(app, '/upload/elsewhere-chosen', [file])).json()).toEqual({ run: 1 });
    });

    it('a `fingerprint` function sees fields and file digests', async () => {
      const first = await post(app, '/upload/chosen', [note, file]);
      expect((await post(app, '/upload/chosen', [file])).text).toBe(first.text);
      const other = { ...file, value: 'other' };
      expect((await post(app, '/upload/chosen', [note, other])).status).toBe(422);
    });

    it('without an upload interceptor is refused, and nothing runs', async () => {
      expectMisconfigured(await post(app, '/upload/unparsed', [note, file]));
    });
  });

  describe('on fastify', () => {
    it("through Nest's upload interceptors", async () => {
      const app = await startApp('fastify', {
        imports: [idempotency()],
        controllers: [FastifyUploads],
      });
      try {
        await expectContentToCount(app, '/upload/memory');
        runs = 0;
        keys += 1;
        await expectContentToCount(app, '/upload/disk');
        runs = 0;
        keys += 1;
        expectMisconfigured(await post(app, '/upload/stream', [file]));
        expectMisconfigured(await post(app, '/upload/unparsed', [note, file]));
      } finally {
        await app.close();
      }
    });

    it.each([true, 'keyValues'] as const)('attachFieldsToBody: %s', async (attachFieldsToBody) => {
      const app = await startApp(
        'fastify',
        { imports: [idempotency()], controllers: [AttachedUploads] },
        {
          configure: async (it) => {
            await (it as NestFastifyApplication).register(multipart, { attachFieldsToBody });
          },
        },
      );
      try {
        await expectContentToCount(app, '/upload/attached');
      } finally {
        await app.close();
      }
    });
  });
});

describe.each(platforms)('raw and text bodies on %s', (platform) => {
  let app: TestApp;
  let keys = 0;
  beforeAll(async () => {
    app = await startApp(
      platform,
      { imports: [idempotency()], controllers: [BytesController] },
      { configure: parseBytes },
    );
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    keys += 1;
  });

  const post = (type: string | undefined, body: string | Buffer, path = '/bytes') =>
    send(app, {
      path,
      key: `bytes-${keys}`,
      headers: type === undefined ? [] : [['content-type', type]],
      body,
    });

  it.each([
    ['text/plain', 'one line', 'one  line'],
    ['text/plain', '{"a":1,"b":2}', '{"b":2,"a":1}'],
    ['application/octet-stream', Buffer.from([0, 255, 1]), Buffer.from([0, 255, 2])],
    ['application/octet-stream', Buffer.from([0, 255, 1]), Buffer.from([0, 255, 1, 0])],
  ])('%s counts by its bytes', async (type, one, other) => {
    const first = await post(type, one);
    expect(first.json()).toEqual({ run: 1 });
    expect((await post(type, other)).status).toBe(422);
    const again = await post(type, one);
    expect([again.text, again.header('idempotent-replayed')]).toEqual([first.text, 'true']);
    expect(runs).toBe(1);
  });

  it('a form counts by its fields', async () => {
    const type = 'application/x-www-form-urlencoded';
    const first = await post(type, 'a=1&b=2');
    expect(first.json()).toEqual({ run: 1 });
    expect((await post(type, 'b=2&a=1')).text).toBe(first.text);
    expect((await post(type, 'a=1&b=3')).status).toBe(422);
  });

  it('no body at all is a request like others', async () => {
    const first = await post(undefined, '');
    expect(first.json()).toEqual({ run: 1 });
    expect((await post(undefined, '')).text).toBe(first.text);
    expect((await post('text/plain', 'x')).status).toBe(422);
  });
});

describe('a body that nothing has parsed', () => {
  it('is refused, and nothing runs, unless the body does not count', async () => {
    runs = 0;
    const app = await startApp('express', {
      imports: [idempotency()],
      controllers: [BytesController],
    });
    try {
      const request = {
        key: 'k',
        headers: [['content-type', 'application/xml']],
        body: '<a/>',
      } as const;
      const response = await send(app, { path: '/bytes', ...request });
      expect(response.status).toBe(500);
      expect(response.json()).toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
      expect(runs).toBe(0);
      expect((await send(app, { path: '/bytes/without', ...request })).status).toBe(201);
    } finally {
      await app.close();
    }
  });

  it('counts by its bytes where they were kept for it', async () => {
    runs = 0;
    const app = await startApp(
      'express',
      { imports: [idempotency()], controllers: [BytesController] },
      {
        rawBody: true,
        configure: (it) => {
          (it as NestExpressApplication).useBodyParser('raw', { type: 'application/xml' });
        },
      },
    );
    try {
      const post = (body: string) =>
        send(app, {
          path: '/bytes',
          key: 'k',
          headers: [['content-type', 'application/xml']],
          body,
        });
      const first = await post('<a/>');
      expect(first.status).toBe(201);
      expect((await post('<b/>')).status).toBe(422);
      expect((await post('<a/>')).text).toBe(first.text);
    } finally {
      await app.close();
    }
  });
});

function multipartBody(parts: readonly Part[], boundary: string): Buffer {
  const chunks: Buffer[] = [];
  for (const { name, value, filename } of parts) {
    const disposition = `form-data; name="${name}"${filename ? `; filename="${filename}"` : ''}`;
    const type = filename ? 'Content-Type: application/octet-stream\r\n' : '';
    chunks.push(
      Buffer.from(`--${boundary}\r\nContent-Disposition: ${disposition}\r\n${type}\r\n`),
      Buffer.from(value),
      Buffer.from('\r\n'),
    );
  }
  return Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)]);
}

function parseBytes(app: INestApplication): void {
  if (app.getHttpAdapter().getType() === 'fastify') {
    (app as NestFastifyApplication).useBodyParser('application/octet-stream');
  } else {
    (app as NestExpressApplication)
      .useBodyParser('text', { type: 'text/plain' })
      .useBodyParser('raw', { type: 'application/octet-stream' });
  }
}
