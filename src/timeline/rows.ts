// SPDX-License-Identifier: Apache-2.0
/**
 * A log of any length in a bounded number of rows (format.ts).
 *
 * A row is made of so many consecutive points, records and horizons. When there
 * are too many rows, neighbours are joined and rows get twice as many points. So
 * memory is constant, the order is kept, and where the log is dense the rows are
 * short: a small log has a row for each record.
 */
import { type ColumnName, isAxis, isPeak, type Place, putVarint, zigzag } from './format.ts';

/** Even. At about 15 bytes a row in a page; more rows than any screen has pixels. */
export const ROWS_MAX = 32_768;

export class Rows {
  /** Whole rows; there may be an open one after them. */
  length = 0;
  pointsPerRow = 1;
  readonly #rowsMax: number;
  readonly #columns = new Map<ColumnName, Float64Array>();
  readonly #icount: Float64Array;
  readonly #vtimeNs: Float64Array;
  readonly #hostNs: Float64Array;
  /** Points in the open row. */
  #points = 0;

  /** @param rowsMax even */
  constructor(rowsMax = ROWS_MAX) {
    this.#rowsMax = rowsMax;
    this.#icount = this.column('icount');
    this.#vtimeNs = this.column('vtimeNs');
    this.#hostNs = this.column('hostNs');
  }

  /** Made when it is first asked for. Kept by callers: it is never replaced. */
  column(name: ColumnName): Float64Array {
    let column = this.#columns.get(name);
    if (column === undefined) {
      column = new Float64Array(this.#rowsMax);
      if (isPeak(name)) column.fill(Number.NEGATIVE_INFINITY);
      this.#columns.set(name, column);
    }
    return column;
  }

  get columns(): ReadonlyMap<ColumnName, Float64Array> {
    return this.#columns;
  }

  add(column: Float64Array, value: number): void {
    column[this.length] = (column[this.length] ?? 0) + value;
  }

  peak(column: Float64Array, value: number): void {
    if (value > (column[this.length] ?? 0)) column[this.length] = value;
  }

  /** Ends a point: what was added since the last one is up to here. */
  point(icount: number, vtimeNs: number, hostNs: number): void {
    const at = this.length;
    this.#icount[at] = icount;
    this.#vtimeNs[at] = vtimeNs;
    this.#hostNs[at] = hostNs;
    this.#points += 1;
    if (this.#points < this.pointsPerRow) return;
    this.#points = 0;
    this.length += 1;
    if (this.length === this.#rowsMax) this.#joinNeighbours();
  }

  /** After the last point: the open row is a whole one. */
  finish(): void {
    if (this.#points > 0) this.length += 1;
    this.#points = 0;
    for (const [name, column] of this.#columns) {
      if (!isPeak(name)) continue;
      // A row without a batch's end is as the one before.
      let last = 0;
      for (let at = 0; at < this.length; at += 1) {
        const value = column[at] ?? 0;
        if (value === Number.NEGATIVE_INFINITY) column[at] = last;
        else last = value;
      }
    }
  }

  sumOf(name: ColumnName): number {
    let sum = 0;
    const column = this.#columns.get(name);
    for (let at = 0; at < this.length; at += 1) sum += column?.[at] ?? 0;
    return sum;
  }

  /** Host time of a position, by the rows around it. */
  hostAt(icount: number, vtimeNs: number, start: Place): number {
    const before = (at: number): boolean => {
      const own = this.#icount[at] ?? 0;
      return own < icount || (own === icount && (this.#vtimeNs[at] ?? 0) < vtimeNs);
    };
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(middle)) low = middle + 1;
      else high = middle;
    }
    const fromVtime = low === 0 ? start.vtimeNs : (this.#vtimeNs[low - 1] ?? 0);
    const fromHost = low === 0 ? start.hostNs : (this.#hostNs[low - 1] ?? 0);
    if (low >= this.length) return fromHost;
    const spanNs = (this.#vtimeNs[low] ?? 0) - fromVtime;
    const share = spanNs > 0 ? Math.min(1, Math.max(0, (vtimeNs - fromVtime) / spanNs)) : 1;
    return Math.round(fromHost + share * ((this.#hostNs[low] ?? 0) - fromHost));
  }

  /** Columns and bytes in the layout of format.ts. */
  encode(start: Place): { readonly columns: ColumnName[]; readonly bytes: Buffer } {
    const columns: ColumnName[] = [];
    const parts: Buffer[] = [];
    for (const [name, column] of this.#columns) {
      columns.push(name);
      const bytes: number[] = [];
      let last = isAxis(name) ? start[name] : 0;
      for (let at = 0; at < this.length; at += 1) {
        const value = Math.round(column[at] ?? 0);
        if (isAxis(name)) {
          putVarint(bytes, value - last);
          last = value;
        } else {
          putVarint(bytes, isPeak(name) ? zigzag(value) : value);
        }
      }
      parts.push(Buffer.from(bytes));
    }
    return { columns, bytes: Buffer.concat(parts) };
  }

  #joinNeighbours(): void {
    const half = this.#rowsMax / 2;
    for (const [name, column] of this.#columns) {
      for (let at = 0; at < half; at += 1) {
        const a = column[2 * at] ?? 0;
        const b = column[2 * at + 1] ?? 0;
        column[at] = isAxis(name) ? b : isPeak(name) ? Math.max(a, b) : a + b;
      }
      column.fill(isPeak(name) ? Number.NEGATIVE_INFINITY : 0, half);
    }
    this.length = half;
    this.pointsPerRow *= 2;
  }
}
