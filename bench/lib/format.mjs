/** A Markdown table; every column but the first is aligned to the right. */
export function table(headings, rows) {
  const rule = headings.map((_, index) => (index === 0 ? '---' : '---:'));
  return [headings, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

export const ms = (value) => value.toFixed(value < 10 ? 2 : 1);
export const whole = (value) => Math.round(value).toLocaleString('en');

export const wholeSpread = ({ median, low, high }) =>
  `${whole(median)} (${whole(low)}–${whole(high)})`;

export const ratioSpread = ({ median, low, high }) =>
  `${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
