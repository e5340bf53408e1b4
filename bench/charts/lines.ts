// SPDX-License-Identifier: Apache-2.0
/** Lines, points and steps over two axes; the legend is beside the plot, never on it. */
import { tickLabels } from './bars.ts';
import { linear, log, type Scale } from './scale.ts';
import {
  COLOURS,
  type Drawing,
  errorBar,
  FAINT,
  GRID,
  line,
  marker,
  PAPER,
  polyline,
  rect,
  text,
  textWidth,
  wrapped,
} from './svg.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly low?: number | null;
  readonly high?: number | null;
}

export interface LineSeries {
  readonly name: string;
  readonly points: readonly Point[];
  /** Steps, as a distribution has; no markers. */
  readonly step?: boolean;
}

/** What a paper or a bound says: a line across, or an area. */
export interface Band {
  readonly name: string;
  readonly axis: 'x' | 'y';
  readonly from: number;
  readonly to: number;
}

export interface LineChart {
  readonly title: string;
  readonly xAxis: string;
  readonly yAxis: string;
  readonly x: 'linear' | 'log';
  readonly y: 'linear' | 'log';
  readonly series: readonly LineSeries[];
  readonly bands?: readonly Band[];
  /** Fixed top of the y axis, such as 1 of a distribution. */
  readonly yMax?: number;
  readonly note?: string;
}

const WIDTH = 420;
const HEIGHT = 230;
const TOP = 26;
const LEGEND = 215;
const NOTE_SIZE = 11;
/** Between the whiskers of two series at one point. */
const ASIDE = 3;
const DASHES = ['5 3', '2 3', '8 3 2 3', '1 2'];

export function lineChart(chart: LineChart): Drawing {
  const { series, bands = [] } = chart;
  const points = series.flatMap((one) => one.points);
  if (points.length === 0) return emptyChart(chart);
  const side = (axis: 'x' | 'y'): number[] =>
    bands.filter((band) => band.axis === axis).flatMap(({ from, to }) => [from, to]);
  const xs = [...points.map(({ x }) => x), ...side('x')];
  const ys = [
    ...points.flatMap(({ y, low, high }) => [y, low ?? y, high ?? y]),
    ...side('y'),
    ...(chart.yMax === undefined ? [] : [chart.yMax]),
  ];
  const yScale = (chart.y === 'log' ? log : linear)(ys, TOP + HEIGHT, TOP);
  const left = Math.max(...yScale.ticks.map(({ label }) => textWidth(label, NOTE_SIZE))) + 28;
  // Whiskers stand beside their points: none over the labels of the y axis.
  const isWhiskered = points.some(({ low }) => typeof low === 'number');
  const inset = isWhiskered ? (series.length * ASIDE) / 2 + ASIDE : 0;
  const xScale = (chart.x === 'log' ? log : linear)(xs, left + inset, left + WIDTH - inset);
  const parts = [
    text(0, 13, chart.title, { bold: true }),
    ...grid(xScale, yScale, left),
    text(10, TOP + HEIGHT / 2, chart.yAxis, {
      size: NOTE_SIZE,
      anchor: 'middle',
      rotate: -90,
      fill: FAINT,
    }),
    text(left + WIDTH / 2, TOP + HEIGHT + 33, chart.xAxis, {
      size: NOTE_SIZE,
      anchor: 'middle',
      fill: FAINT,
    }),
    ...bands.map((band, at) => bandOf(band, at, xScale, yScale, left)),
    ...series.map((one, at) =>
      seriesOf(one, at, xScale, yScale, (at - (series.length - 1) / 2) * ASIDE),
    ),
  ];
  const key = legend(series, bands, left + WIDTH + 18);
  return {
    width: left + WIDTH + 18 + LEGEND,
    height: Math.max(TOP + HEIGHT + 38, key.bottom),
    body: [...parts, ...key.parts].join('\n'),
  };
}

/** A frame that says why: an axis would show numbers that mean nothing. */
function emptyChart({ title, bands = [], note }: LineChart): Drawing {
  const height = 90;
  const lines = wrapped(note ?? 'nothing was measured', WIDTH - 40, 13);
  const top = TOP + height / 2 + 4 - (lines.length - 1) * 9;
  const style = { anchor: 'middle', size: 13, fill: FAINT, italic: true } as const;
  const key = legend([], bands, WIDTH + 18);
  return {
    width: WIDTH + 18 + LEGEND,
    height: Math.max(TOP + height + 4, key.bottom),
    body: [
      text(0, 13, title, { bold: true }),
      rect(0, TOP, WIDTH, height, '#fafafa', PAPER),
      ...lines.map((words, at) => text(WIDTH / 2, top + at * 18, words, style)),
      ...key.parts,
    ].join('\n'),
  };
}

function grid(x: Scale, y: Scale, left: number): string[] {
  const [top, bottom, right] = [TOP, TOP + HEIGHT, left + WIDTH];
  return [
    ...x.ticks.map(({ value }) => line(x.at(value), top, x.at(value), bottom, { stroke: GRID })),
    ...y.ticks.map(({ value }) => line(left, y.at(value), right, y.at(value), { stroke: GRID })),
    ...y.ticks.map(({ value, label }) =>
      text(left - 6, y.at(value) + 4, label, { size: NOTE_SIZE, anchor: 'end' }),
    ),
    ...tickLabels(x, bottom),
    line(left, bottom, right, bottom),
    line(left, top, left, bottom),
  ];
}

/** @param aside of whiskers, so that those of several series are beside each other */
function seriesOf(
  { points, step }: LineSeries,
  at: number,
  x: Scale,
  y: Scale,
  aside: number,
): string {
  const colour = colourOf(at);
  const sorted = [...points].sort((a, b) => a.x - b.x);
  if (step === true) {
    const corners = sorted.flatMap((point, index): [number, number][] => {
      const before = sorted[index - 1]?.y ?? 0;
      return [
        [x.at(point.x), y.at(before)],
        [x.at(point.x), y.at(point.y)],
      ];
    });
    return polyline(corners, { stroke: colour, width: 2, ...dashOf(at) });
  }
  const path = sorted.map((point): [number, number] => [x.at(point.x), y.at(point.y)]);
  const bars = sorted.flatMap((point) =>
    typeof point.low === 'number' && typeof point.high === 'number'
      ? [
          errorBar(
            [x.at(point.x) + aside, y.at(point.low)],
            [x.at(point.x) + aside, y.at(point.high)],
            colour,
          ),
        ]
      : [],
  );
  return [
    polyline(path, { stroke: colour }),
    ...bars,
    ...path.map(([px, py]) => marker(px, py, at, colour)),
  ].join('');
}

function dashOf(at: number): { readonly dash?: string } {
  const dash = at === 0 ? undefined : DASHES[(at - 1) % DASHES.length];
  return dash === undefined ? {} : { dash };
}

function bandOf({ axis, from, to }: Band, at: number, x: Scale, y: Scale, left: number): string {
  const dash = DASHES[at % DASHES.length] ?? '5 3';
  if (axis === 'y') {
    const [high, low] = [y.at(to), y.at(from)];
    if (from === to) return line(left, low, left + WIDTH, low, { stroke: PAPER, width: 2, dash });
    return rect(left, high, WIDTH, low - high, '#00000018', PAPER);
  }
  const [low, high] = [x.at(from), x.at(to)];
  if (from === to) return line(low, TOP, low, TOP + HEIGHT, { stroke: PAPER, width: 2, dash });
  return rect(low, TOP, high - low, HEIGHT, '#00000018', PAPER);
}

function legend(
  series: readonly LineSeries[],
  bands: readonly Band[],
  x: number,
): { parts: string[]; bottom: number } {
  const parts: string[] = [];
  let y = TOP;
  const entry = (name: string, symbol: (at: number) => string): void => {
    parts.push(symbol(y + 5));
    for (const words of wrapped(name, LEGEND - 30, NOTE_SIZE)) {
      parts.push(text(x + 28, y + 9, words, { size: NOTE_SIZE }));
      y += 14;
    }
    y += 5;
  };
  for (const [at, { name, step, points }] of series.entries()) {
    if (points.length === 0) continue;
    const colour = colourOf(at);
    entry(name, (middle) =>
      step === true
        ? line(x, middle, x + 22, middle, { stroke: colour, width: 2, ...dashOf(at) })
        : line(x, middle, x + 22, middle, { stroke: colour, width: 1.6 }) +
          marker(x + 11, middle, at, colour),
    );
  }
  for (const [at, { name, from, to }] of bands.entries()) {
    const dash = DASHES[at % DASHES.length] ?? '5 3';
    entry(name, (middle) =>
      from === to
        ? line(x, middle, x + 22, middle, { stroke: PAPER, width: 2, dash })
        : rect(x, middle - 5, 22, 10, '#00000018', PAPER),
    );
  }
  return { parts, bottom: y };
}

export function colourOf(at: number): string {
  return COLOURS[at % COLOURS.length] ?? '#000000';
}
