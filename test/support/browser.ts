import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { transform } from '@swc/core';
import { chromium, type Browser } from 'playwright-core';

/** What the run has found; the reporter tells of what it has not. */
export function hasBrowser(): boolean {
  return process.env.TEST_CHROMIUM !== '';
}

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export interface WebSite {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A page at `/`, and the modules of a folder beneath `/modules/` as a browser takes them: each file by itself, not
 * bundled. Without HTTPS, on 127.0.0.1.
 */
export async function serveWebSite(html: string, folder: URL): Promise<WebSite> {
  const server = createServer((request, response) => {
    const [, name] = /^\/modules\/([\w-]+)\.js$/.exec(request.url ?? '') ?? [];
    if (name === undefined) {
      response.writeHead(request.url === '/' ? 200 : 404, { 'content-type': 'text/html' });
      response.end(request.url === '/' ? html : '');
      return;
    }
    moduleOf(new URL(`${name}.ts`, folder)).then(
      (code) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(code),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A source as a browser takes it. */
export async function moduleOf(file: URL): Promise<string> {
  const { code } = await transform(await readFile(file, 'utf8'), {
    swcrc: false,
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  });
  return code;
}
