// SPDX-License-Identifier: Apache-2.0
/** Lines over time as an SVG: panels below each other, one axis of time. */

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
}

const WIDTH = 820;
const PANEL = 170;
const LEFT = 70;
const RIGHT = 170;
const TOP = 50;
const GAP = 50;
/** Okabe and Ito: told apart by everyone. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/** @param xUnit of the axis of time */
export function linesSvg(title: string, xUnit: string, panels: readonly Panel[]): string {
  const height = TOP + panels.length * (PANEL + GAP) + 10;
  const xMax = Math.max(
    ...panels.flatMap(({ series }) => series.flatMap(({ points }) => points.map(([x]) => x))),
    1e-9,
  );
  const x = (value: number): number => LEFT + (value / xMax) * (WIDTH - LEFT - RIGHT);
  const body = panels.map((panel, at) => panelSvg(panel, TOP + at * (PANEL + GAP), x, xMax));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
      `viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${LEFT}" y="24" font-size="16">${escaped(title)}</text>`,
    ...body,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 8}" text-anchor="middle">${xUnit}</text>`,
    '</svg>',
    '',
  ].join('\n');
}

function panelSvg(
  { title, unit, series }: Panel,
  top: number,
  x: (value: number) => number,
  xMax: number,
): string {
  const values = series.flatMap(({ points }) => points.map(([, y]) => y));
  const low = Math.min(0, ...values);
  const high = Math.max(...values, low + 1);
  const y = (value: number): number => top + PANEL - ((value - low) / (high - low)) * PANEL;
  const parts = [`<text x="${LEFT}" y="${top - 6}">${escaped(title)}, ${escaped(unit)}</text>`];
  for (const tick of ticks(low, high)) {
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/>`,
      `<text x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
    );
  }
  for (const tick of ticks(0, xMax)) {
    parts.push(`<text x="${x(tick)}" y="${top + PANEL + 15}" text-anchor="middle">${tick}</text>`);
  }
  series.forEach(({ name, points }, at) => {
    const colour = COLOURS[at % COLOURS.length];
    const path = thinned(points)
      .map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`)
      .join(' ');
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.3"/>`,
      `<text x="${WIDTH - RIGHT + 10}" y="${top + 14 + at * 16}" fill="${colour}">${escaped(name)}</text>`,
    );
  });
  return parts.join('\n');
}

/** At most two points a pixel, the extremes of each. */
function thinned(points: Series['points']): Series['points'] {
  const bucket = Math.ceil(points.length / (WIDTH - LEFT - RIGHT));
  if (bucket <= 2) return points;
  const kept: (readonly [number, number])[] = [];
  for (let from = 0; from < points.length; from += bucket) {
    const some = [...points.slice(from, from + bucket)].sort((a, b) => a[1] - b[1]);
    const ends = [some[0], some.at(-1)].flatMap((point) => (point === undefined ? [] : [point]));
    kept.push(...ends.sort((a, b) => a[0] - b[0]));
  }
  return kept;
}

function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => power * factor >= rough) ?? 10);
  const found: number[] = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) {
    found.push(Number(tick.toPrecision(6)));
  }
  return found;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
