import { get } from './api.js';
import { byId, clockTime, el, row, svg, table } from './dom.js';

const OUTCOMES = [
  ['executed', 'Executed'],
  ['replayed', 'Replayed'],
  ['rejected', 'Rejected'],
  ['takenOver', 'Taken over'],
];
const SIZE = { width: 900, height: 220, left: 44, right: 8, top: 10, bottom: 24 };
const INNER = SIZE.height - SIZE.top - SIZE.bottom;

export async function showActivity() {
  const series = await get('activity', { query: { minutes: byId('range').value } });
  byId('chart').replaceChildren(legend(series), drawing(series));
  byId('chart-table').replaceChildren(asTable(series));
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function legend(series) {
  return el(
    'ul',
    { class: 'legend' },
    OUTCOMES.map(([name, label]) =>
      el(
        'li',
        {},
        el('span', { class: `swatch ${name}`, 'aria-hidden': 'true' }),
        `${label} `,
        el('b', {}, String(sum(series[name]))),
      ),
    ),
  );
}

/** Bars on top of each other, one for each bucket. */
function drawing(series) {
  const { width, height, left, right, top } = SIZE;
  const buckets = series.executed.length;
  const top1 = roundUp(Math.max(1, ...series.executed.map((_, n) => total(series, n))));
  const y = (count) => top + INNER * (1 - count / top1);
  const slot = (width - left - right) / buckets;
  const lines = [...new Set([0, Math.round(top1 / 2), top1])].map((count) => [
    svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(count), y2: y(count) }),
    svg('text', { x: left - 8, y: y(count) + 4, 'text-anchor': 'end' }, String(count)),
  ]);
  const bars = series.executed.map((_, n) => {
    let below = 0;
    return OUTCOMES.filter(([name]) => series[name][n] > 0).map(([name]) => {
      const from = y(below);
      below += series[name][n];
      const x = left + n * slot + slot * 0.12;
      return svg('rect', {
        class: name,
        x,
        y: y(below),
        width: slot * 0.76,
        height: from - y(below),
      });
    });
  });
  const marks = [0, 0.25, 0.5, 0.75].map((part) => {
    const n = Math.round(buckets * part);
    const label = clockTime(series.start + n * series.step);
    return svg('text', { x: left + n * slot, y: height - 6 }, label);
  });
  const said = OUTCOMES.map(([name, label]) => `${label.toLowerCase()}: ${sum(series[name])}`);
  const title = `Operations since ${clockTime(series.start)}. ${said.join(', ')}.`;
  const box = { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title };
  return svg('svg', box, lines.flat(), marks, bars.flat());
}

function total(series, n) {
  return sum(OUTCOMES.map(([name]) => series[name][n]));
}

/** To an even number that people like to read. */
function roundUp(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [2, 4, 6, 8, 10, 20].map((times) => times * power).find((even) => even >= most);
}

/** Only what happened. */
function asTable(series) {
  const rows = series.executed
    .map((_, n) => n)
    .filter((n) => total(series, n) > 0)
    .map((n) =>
      row(
        clockTime(series.start + n * series.step),
        ...OUTCOMES.map(([name]) => String(series[name][n])),
      ),
    );
  if (rows.length === 0) return el('p', { class: 'empty' }, 'Nothing has happened in this time.');
  const minutes = series.step / 60_000;
  const caption = `Operations in each ${minutes === 1 ? 'minute' : `${minutes} minutes`}`;
  return table(caption, ['From', ...OUTCOMES.map(([, label]) => label)], rows);
}
