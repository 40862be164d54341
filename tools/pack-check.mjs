/** The published package holds what a user needs and nothing else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';

const [{ files }] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { encoding: 'utf8' }),
);
const paths = files.map(({ path }) => path);

const bin = 'dist/cli/main.js';
for (const needed of [
  'package.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'dist/index.js',
  bin,
]) {
  assert.ok(paths.includes(needed), `${needed} is missing from the package.`);
}
const code = paths.filter((path) => path.startsWith('dist/'));
const other = paths.filter((path) => !path.startsWith('dist/'));
assert.equal(other.length, 4, `The package holds more than it should: ${other.join(', ')}`);
for (const path of code) {
  assert.match(path, /\.(js|d\.ts)$/, `${path} does not belong in the package.`);
  assert.doesNotMatch(path, /\.spec\./, `${path} is a test and does not belong in the package.`);
}
console.log(`pack-check ok: ${paths.length} files`);
