// SPDX-License-Identifier: Apache-2.0
/** Rows into bins of equal width on the axis that is shown. No DOM here. */
import type { Axis, ColumnName } from '../format.ts';
import { type Data, rowAt } from './data.ts';

/** Bins of `width` from `from` on; `from` is a multiple of `width`, so that panning shifts no bin. */
export interface Grid {
  readonly axis: Axis;
  readonly from: number;
  readonly width: number;
  readonly count: number;
}

/** The smallest 1, 2 or 5 × 10^k that is at least `value`. */
export function niceAtLeast(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  // 1e-9: 0.1 + 0.2 must not become 0.5.
  const factor = [1, 2, 5].find((candidate) => candidate * power >= value * (1 - 1e-9));
  return (factor ?? 10) * power;
}

/** @param binsMax at most about so many; a bin is at least one unit of the axis wide */
export function gridOf(axis: Axis, from: number, to: number, binsMax: number): Grid {
  const width = Math.max(1, niceAtLeast((to - from) / binsMax));
  const first = Math.floor(from / width);
  return { axis, from: first * width, width, count: Math.floor(to / width) - first + 1 };
}

/**
 * Sums of a column. What a row counts happened where it ends if the row is a single
 * record or horizon; else anywhere in it, so evenly.
 * @param spread evenly in any case: what goes on all the time, such as idling
 */
export function binSums(data: Data, name: ColumnName, grid: Grid, spread = false): Float64Array {
  return sumInto(data, data.column(name), grid, spread || data.head.pointsPerRow > 1);
}

/** How much of another axis passes in each bin. */
export function binLengths(data: Data, axis: Axis, grid: Grid): Float64Array {
  const edges = data.edges[axis];
  const lengths = new Float64Array(data.rows);
  for (let row = 0; row < data.rows; row += 1) {
    lengths[row] = (edges[row + 1] ?? 0) - (edges[row] ?? 0);
  }
  return sumInto(data, lengths, grid, true);
}

function sumInto(data: Data, values: Float64Array, grid: Grid, spread: boolean): Float64Array {
  const { from, width, count } = grid;
  const edges = data.edges[grid.axis];
  const sums = new Float64Array(count);
  const put = (bin: number, value: number): void => {
    if (bin >= 0 && bin < count) sums[bin] = (sums[bin] ?? 0) + value;
  };
  const end = from + count * width;
  for (let row = firstRow(edges, from); row < data.rows; row += 1) {
    const low = edges[row] ?? 0;
    const high = edges[row + 1] ?? 0;
    const value = values[row] ?? 0;
    if (low > end) break;
    if (value === 0) continue;
    const firstBin = Math.floor((low - from) / width);
    const lastBin = Math.floor((high - from) / width);
    if (!spread || firstBin === lastBin) {
      put(lastBin, value);
      continue;
    }
    const share = value / (high - low);
    const until = Math.min(lastBin, count - 1);
    for (let bin = Math.max(firstBin, 0); bin <= until; bin += 1) {
      const binLow = from + bin * width;
      const overlap = Math.min(high, binLow + width) - Math.max(low, binLow);
      put(bin, share * overlap);
    }
  }
  return sums;
}

/** Largest value of a column in each bin. */
export function binPeaks(data: Data, name: ColumnName, grid: Grid): Float64Array {
  const { from, width, count } = grid;
  const edges = data.edges[grid.axis];
  const values = data.column(name);
  const peaks = new Float64Array(count);
  const seen = new Uint8Array(count);
  const end = from + count * width;
  for (let row = firstRow(edges, from); row < data.rows; row += 1) {
    const low = edges[row] ?? 0;
    if (low > end) break;
    const value = values[row] ?? 0;
    const until = Math.min(Math.floor(((edges[row + 1] ?? 0) - from) / width), count - 1);
    for (let bin = Math.max(Math.floor((low - from) / width), 0); bin <= until; bin += 1) {
      if (seen[bin] === 0 || value > (peaks[bin] ?? 0)) peaks[bin] = value;
      seen[bin] = 1;
    }
  }
  return peaks;
}

/** The first row that reaches `from`; rows of no length there included. */
function firstRow(edges: Float64Array, from: number): number {
  let row = rowAt(edges, from);
  while (row > 0 && (edges[row] ?? 0) >= from) row -= 1;
  return row;
}
