// SPDX-License-Identifier: Apache-2.0
/** The page's data, read back (../format.ts). No DOM here. */
import {
  AXES,
  type Axis,
  type ColumnName,
  isAxis,
  isPeak,
  type PageHead,
  type Place,
  unzigzag,
  VarintReader,
} from '../format.ts';

export interface Data {
  readonly head: PageHead;
  readonly rows: number;
  /** rows + 1 of each axis: row i is from edge i to edge i + 1. */
  readonly edges: Readonly<Record<Axis, Float64Array>>;
  /** Ordinals of the kinds in the log. */
  readonly kinds: readonly number[];
  /** One value a row; zeros for a column that the log does not have. */
  column(name: ColumnName): Float64Array;
  /** The newest console bytes, `head.console` says from where. */
  readonly consoleBytes: Uint8Array;
  /** Console bytes printed up to the end of each row, since the log's begin. */
  readonly printed: Float64Array;
}

export function decode(head: PageHead, blob: Uint8Array): Data {
  const { rows, start } = head;
  const reader = new VarintReader(blob);
  const columns = new Map<ColumnName, Float64Array>();
  const edges = Object.fromEntries(
    AXES.map((axis) => [axis, new Float64Array(rows + 1)]),
  ) as Record<Axis, Float64Array>;
  for (const name of head.columns) {
    const column = new Float64Array(rows);
    let last = isAxis(name) ? start[name] : 0;
    for (let at = 0; at < rows; at += 1) {
      const value = reader.next();
      if (isAxis(name)) {
        last += value;
        column[at] = last;
      } else {
        column[at] = isPeak(name) ? unzigzag(value) : value;
      }
    }
    if (isAxis(name)) {
      edges[name][0] = start[name];
      edges[name].set(column, 1);
    }
    columns.set(name, column);
  }
  const zeros = new Float64Array(rows);
  const printed = new Float64Array(rows);
  const charOut = columns.get('charOutBytes') ?? zeros;
  let sum = 0;
  for (let at = 0; at < rows; at += 1) {
    sum += charOut[at] ?? 0;
    printed[at] = sum;
  }
  return {
    head,
    rows,
    edges,
    kinds: head.columns
      .flatMap((name) => (name.startsWith('kind:') ? [Number(name.slice(5))] : []))
      .sort((a, b) => a - b),
    column: (name) => columns.get(name) ?? zeros,
    consoleBytes: blob.subarray(reader.at, reader.at + head.console.bytes),
    printed,
  };
}

/** The row in which `x` lies; of several, the last one that ends there or the one around it. */
export function rowAt(edges: Float64Array, x: number): number {
  let low = 0;
  let high = edges.length - 1;
  // First edge beyond x.
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((edges[middle] ?? 0) > x) high = middle;
    else low = middle + 1;
  }
  return Math.max(0, Math.min(edges.length - 2, low - 1));
}

/** `x` of one axis on all three; interpolated within a row. */
export function placeAt(data: Data, axis: Axis, x: number): Place {
  const own = data.edges[axis];
  const row = rowAt(own, x);
  const from = own[row] ?? 0;
  const span = (own[row + 1] ?? 0) - from;
  const share = span > 0 ? Math.min(1, Math.max(0, (x - from) / span)) : 1;
  const on = (name: Axis): number => {
    if (name === axis) return x;
    const edges = data.edges[name];
    const low = edges[row] ?? 0;
    return low + share * ((edges[row + 1] ?? low) - low);
  };
  return { icount: on('icount'), vtimeNs: on('vtimeNs'), hostNs: on('hostNs') };
}

/** First and last `x` of an axis. */
export function extent(data: Data, axis: Axis): readonly [number, number] {
  const edges = data.edges[axis];
  const from = edges[0] ?? 0;
  return [from, Math.max(edges[data.rows] ?? from, from + 1)];
}
