/**
 * The examples of a page: every block fenced as `ts` is a module. A first line `// file: name.ts` names it, so that
 * others of the page can import it. A block fenced as `ts no-check` is left alone.
 */
import { readFile } from 'node:fs/promises';

const fence = /^( *)```(?:ts|typescript)( no-check)? *\n([\s\S]*?)^\1``` *$/gm;

export async function examplesOf(page) {
  const markdown = await readFile(page, 'utf8');
  const names = new Set();
  return [...markdown.matchAll(fence)]
    .filter(({ 2: unchecked }) => !unchecked)
    .map(({ 3: code, index }) => {
      const line = markdown.slice(0, index).split('\n').length;
      const given = /^\s*\/\/ file: (\S+\.ts)\s*$/m.exec(code.split('\n', 1)[0])?.[1];
      const name = given ?? `line-${line}.ts`;
      if (names.has(name)) throw new Error(`${page}:${line} names ${name} a second time.`);
      names.add(name);
      // Blank lines first, so that the compiler's line numbers are those of the page.
      return { name, code: '\n'.repeat(line) + code };
    });
}
