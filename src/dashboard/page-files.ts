import { readFileSync } from 'node:fs';

const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript' } as const;

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

const NAMES = [
  'index.html',
  'dashboard.css',
  'dashboard.js',
  'answer.js',
  'api.js',
  'chart.js',
  'confirm.js',
  'dom.js',
  'outbox.js',
  'records.js',
] as const;

/** The files of the page, by name: these and no others are served. */
export function readPageFiles(): ReadonlyMap<string, PageFile> {
  return new Map(NAMES.map((name) => [name, readPageFile(name)]));
}

function readPageFile(name: (typeof NAMES)[number]): PageFile {
  const ending = name.split('.').at(-1) as keyof typeof TYPES;
  const text = readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8');
  return { type: `${TYPES[ending]}; charset=utf-8`, text };
}
