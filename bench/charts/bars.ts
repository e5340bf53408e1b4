// SPDX-License-Identifier: Apache-2.0
/**
 * Horizontal bars, one a line, with its name before and its number behind it: with a
 * dozen systems nothing overlaps, and what is missing has room to say why.
 */
import { linear, log, type Scale } from './scale.ts';
import {
  beside,
  type Drawing,
  errorBar,
  FAINT,
  GRID,
  line,
  marker,
  rect,
  SIZE,
  text,
  textWidth,
  wrapped,
} from './svg.ts';

export interface Bar {
  readonly label: string;
  readonly colour: string;
  /** Null: `note` stands in its place. */
  readonly value: number | null;
  readonly low?: number | null;
  readonly high?: number | null;
  /** Behind the bar; in place of it where there is none. */
  readonly note: string;
  /** Instead of one value: what a source gives as from–to. */
  readonly range?: readonly [number, number];
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

export interface BarChart {
  readonly axis: string;
  readonly groups: readonly BarGroup[];
  /** Drawn as points then: a bar has no beginning on such an axis. */
  readonly log?: boolean;
  /** Values that the axis has room for besides those drawn. */
  readonly extent?: readonly number[];
  /** A line through all groups, such as the baseline at 1. */
  readonly reference?: number;
  readonly plotWidth?: number;
  readonly labelWidthMin?: number;
}

const ROW = 17;
const BAR = 11;
const GROUP_GAP = 12;
const NOTE_SIZE = 11;
const NOTE_WIDTH = 190;
const LABEL_GAP = 8;

/** The same in several columns of about the same height, on the same axis. */
export function barColumns(chart: BarChart, count: number): Drawing {
  const rowsOf = ({ bars }: BarGroup): number => bars.length + 2;
  const total = chart.groups.reduce((sum, group) => sum + rowsOf(group), 0);
  const columns: BarGroup[][] = Array.from({ length: count }, () => []);
  let before = 0;
  for (const group of chart.groups) {
    // By the middle of the group, so that no column is longer than it must be.
    const at = Math.min(count - 1, Math.floor(((before + rowsOf(group) / 2) / total) * count));
    columns[at]?.push(group);
    before += rowsOf(group);
  }
  const bars = chart.groups.flatMap((group) => group.bars);
  const extent = bars.flatMap(({ value, low, high }) =>
    [value ?? [], low ?? [], high ?? []].flat(),
  );
  const drawn = columns
    .filter(({ length }) => length > 0)
    .map((groups) => barChart({ ...chart, groups, extent }));
  return beside(drawn);
}

export function barChart(chart: BarChart): Drawing {
  const { groups, axis, reference, plotWidth = 380, labelWidthMin = 0 } = chart;
  const bars = groups.flatMap((group) => group.bars);
  const labels = bars.map(({ label }) => textWidth(label, NOTE_SIZE));
  const left = Math.max(labelWidthMin, ...labels) + LABEL_GAP;
  const right = left + plotWidth;
  const values = bars.flatMap(({ value, high, range }) =>
    [value ?? [], high ?? [], range ?? []].flat(),
  );
  const lows = bars.flatMap(({ value, low }) => [value ?? [], low ?? []].flat());
  const marks = reference === undefined ? [] : [reference];
  const all = [...values, ...lows, ...marks, ...(chart.extent ?? [])];
  const scale = (chart.log === true ? log : linear)(all, left, right);
  const parts: string[] = [];
  let y = 0;
  const lastTick = textWidth(scale.ticks.at(-1)?.label ?? '', NOTE_SIZE) / 2;
  let widest = right + Math.max(lastTick, textWidth(axis, NOTE_SIZE) / 2 - plotWidth / 2);
  for (const group of groups) {
    if (group.title !== '') {
      parts.push(rect(0, y - 2, textWidth(group.title, SIZE, true) + 6, SIZE + 6, '#ffffff'));
      parts.push(text(0, y + SIZE, group.title, { bold: true }));
      y += ROW + 2;
    }
    for (const bar of group.bars) {
      parts.push(text(left - LABEL_GAP, y + 9.5, bar.label, { size: NOTE_SIZE, anchor: 'end' }));
      const drawn = barOf(bar, scale, left, y);
      parts.push(...drawn.parts);
      widest = Math.max(widest, drawn.end);
      y += Math.max(ROW, drawn.lines * 13 + 4);
    }
    y += GROUP_GAP;
  }
  y -= GROUP_GAP - 2;
  // Without any value an axis would show numbers that mean nothing.
  if (bars.every(({ value, range }) => value === null && range === undefined)) {
    return { width: Math.ceil(widest), height: y + 4, body: parts.join('\n') };
  }
  const grid = scale.ticks.map(({ value }) =>
    line(scale.at(value), 0, scale.at(value), y, { stroke: GRID }),
  );
  const ticks = tickLabels(scale, y);
  const mark =
    reference === undefined
      ? []
      : [line(scale.at(reference), 0, scale.at(reference), y, { dash: '4 3', stroke: FAINT })];
  parts.push(
    text((left + right) / 2, y + 32, axis, { size: NOTE_SIZE, anchor: 'middle', fill: FAINT }),
  );
  return {
    width: Math.ceil(widest),
    height: y + 36,
    body: [...grid, ...mark, ...parts, ...ticks].join('\n'),
  };
}

function barOf(
  { value, low, high, colour, note, range }: Bar,
  scale: Scale,
  left: number,
  y: number,
): { parts: string[]; end: number; lines: number } {
  if (value === null && range === undefined) {
    const lines = wrapped(note, NOTE_WIDTH * 2, NOTE_SIZE);
    const parts = lines.map((words, at) =>
      text(left + 4, y + 9.5 + at * 13, words, { size: NOTE_SIZE, fill: FAINT, italic: true }),
    );
    const end = left + 4 + Math.max(0, ...lines.map((words) => textWidth(words, NOTE_SIZE)));
    return { parts, end, lines: lines.length };
  }
  const [from, to] =
    range === undefined ? [left, scale.at(value ?? 0)] : [scale.at(range[0]), scale.at(range[1])];
  const middle = y + BAR / 2;
  const parts =
    scale.kind === 'log' && range === undefined
      ? [line(from, middle, to, middle, { stroke: colour, width: 0.8 }), dot(to, middle, colour)]
      : [rect(from, y, Math.max(to - from, 1), BAR, colour)];
  let end = to + (scale.kind === 'log' ? 4 : 0);
  if (typeof low === 'number' && typeof high === 'number') {
    parts.push(errorBar([scale.at(low), middle], [scale.at(high), middle]));
    end = Math.max(end, scale.at(high) + 3);
  }
  const noteWidth = textWidth(note, NOTE_SIZE);
  parts.push(rect(end + 3, y - 1, noteWidth + 4, 13, '#ffffff'));
  parts.push(text(end + 5, y + 9.5, note, { size: NOTE_SIZE }));
  return { parts, end: end + 5 + noteWidth, lines: 1 };
}

function dot(x: number, y: number, fill: string): string {
  return marker(x, y, 0, fill, 4);
}

/** Those that would overlap the one before are left out. */
export function tickLabels(scale: Scale, y: number, size = NOTE_SIZE): string[] {
  let free = Number.NEGATIVE_INFINITY;
  return scale.ticks.flatMap(({ value, label }) => {
    const at = scale.at(value);
    const half = textWidth(label, size) / 2;
    if (at - half < free) return [];
    free = at + half + 6;
    return [text(at, y + 14, label, { size, anchor: 'middle' })];
  });
}
