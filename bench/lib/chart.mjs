/** Charts of bars as SVG by hand, readable on light and on dark paper. */

const WIDTH = 860;
const LABEL = 270;
const VALUE = 130;
const BAR = 14;
const ROW = 20;
const HEAD = 30;

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .ours { fill: #0969da } .other { fill: #8c959f } .base { fill: #57606a }
  .spread, .line { stroke: #1f2328; stroke-width: 1 } .line { stroke-dasharray: 3 3; opacity: .5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours { fill: #58a6ff } .other { fill: #6e7681 } .base { fill: #8b949e }
    .spread, .line { stroke: #e6edf3 }
  }`;

/**
 * @param {string} title
 * @param {{ title: string, line?: number, bars: { name: string, kind: 'ours' | 'other' | 'base', median: number, low: number, high: number }[] }[]} panels
 *   below one another, each with a scale of its own; `line` is where the base is
 */
export function barChart(title, panels) {
  let y = HEAD;
  const parts = [`<text class="title" x="8" y="20">${escape(title)}</text>`];
  for (const panel of panels) {
    parts.push(`<text class="title" x="8" y="${y + 20}">${escape(panel.title)}</text>`);
    y += HEAD;
    parts.push(bars(panel, y));
    y += panel.bars.length * ROW + 10;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function bars({ bars: rows, line }, top) {
  const longest = Math.max(...rows.map(({ high }) => high), line ?? 0);
  const x = (value) => Math.round(LABEL + (value / longest) * (WIDTH - LABEL - VALUE));
  const parts = rows.map(({ name, kind, median, low, high }, index) => {
    const y = top + index * ROW;
    const middle = y + BAR / 2;
    return [
      `<text x="${LABEL - 8}" y="${y + 11}" text-anchor="end">${escape(name)}</text>`,
      `<rect class="${kind}" x="${LABEL}" y="${y}" width="${x(median) - LABEL}" height="${BAR}" rx="2"/>`,
      `<path class="spread" d="M${x(low)} ${middle}H${x(high)}"/>`,
      `<text x="${x(high) + 8}" y="${y + 11}">${median.toFixed(2)}</text>`,
    ].join('');
  });
  if (line !== undefined) {
    const bottom = top + rows.length * ROW;
    parts.push(`<path class="line" d="M${x(line)} ${top - 4}V${bottom}"/>`);
  }
  return parts.join('\n');
}

const escape = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
