// SPDX-License-Identifier: Apache-2.0
/**
 * What a timeline page holds, as written (page.ts) and as read (client/data.ts).
 *
 * A *row* is a stretch of the log, up to and including a position; rows follow one
 * another without gaps, and there are at most ROWS_MAX of them (rows.ts). A column
 * has one whole number a row: positions are ends of rows, sums are of the row, peaks
 * are the largest value in it.
 *
 * The page has one JSON object, PageHead, and one blob: the columns in the order of
 * `head.columns`, then console bytes. A column is a sequence of LEB128 numbers; of
 * positions the differences are stored, the first one to `head.start`; what may be
 * negative is zigzag-coded. No import from Node or the DOM: both sides use this file.
 */

/** On the three axes. */
export interface Place {
  /** Instructions retired since power-on. */
  readonly icount: number;
  /** Guest time, ns. */
  readonly vtimeNs: number;
  /** Host time, ns since `PageHead.hostEpochNs`. */
  readonly hostNs: number;
}

export const AXES = ['vtimeNs', 'hostNs', 'icount'] as const;
export type Axis = (typeof AXES)[number];

/** Columns beside the positions and `kind:ORDINAL`, which counts the records of a kind. */
export const SUMS = [
  /** Bytes of the log: records, payload, and the headers of the batches sealed there. */
  'logBytes',
  'netInBytes',
  'netOutBytes',
  'charInBytes',
  'charOutBytes',
  /** Guest time that passed without instructions, ns. */
  'idleNs',
  /** Guest time that a clock record skipped: the guest did not run, ns. */
  'stepNs',
] as const;
export type Sum = (typeof SUMS)[number];

export const PEAKS = [
  /** Packets in the log that had not left when a batch was sealed. */
  'held',
  /** Host time minus guest time when a batch was sealed, ns; may be negative. */
  'behindNs',
] as const;
export type Peak = (typeof PEAKS)[number];

/** Value of `held` where earlier packets are missing from the log. */
export const HELD_UNKNOWN = -1;

export type ColumnName = Axis | Sum | Peak | `kind:${number}`;

/** Something at one position, drawn by itself. */
export interface Marker extends Place {
  readonly what: 'digest' | 'checkpoint' | 'event';
  readonly text: string;
}

/** A part of the log that could not be read: nothing is known between the two. */
export interface Gap {
  readonly from: Place;
  readonly to: Place;
  readonly reason: string;
}

export interface PageHead {
  readonly format: 1;
  readonly title: string;
  readonly facts: ReadonlyArray<readonly [string, string]>;
  /** What a reader of the page has to know, such as damage; each one paragraph. */
  readonly notes: readonly string[];
  /** CLOCK_REALTIME, ns, as decimal text: more than a double can hold. */
  readonly hostEpochNs: string;
  readonly start: Place;
  readonly rows: number;
  /** Records and horizons in each row but the last. */
  readonly pointsPerRow: number;
  readonly columns: readonly ColumnName[];
  /** Name of each `kind:ORDINAL` column. */
  readonly kindNames: Readonly<Record<string, string>>;
  readonly markers: readonly Marker[];
  /** Digests and events left out of `markers`. */
  readonly markersLeftOut: number;
  readonly gaps: readonly Gap[];
  /** Console bytes in the blob; `firstByte` of them came before and are not there. */
  readonly console: { readonly bytes: number; readonly firstByte: number };
}

export function isAxis(name: ColumnName): name is Axis {
  return (AXES as readonly string[]).includes(name);
}

export function isPeak(name: ColumnName): name is Peak {
  return (PEAKS as readonly string[]).includes(name);
}

/** Appends a whole number of at most 2^53 to `into`; of those below 0 see `zigzag`. */
export function putVarint(into: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    into.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  into.push(rest);
}

export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** Reads what `putVarint` wrote. */
export class VarintReader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) throw new RangeError('the page is cut short');
      this.at += 1;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  }
}
