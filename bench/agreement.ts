// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a second run came out as the first one promised: each of its ratios in the
 * interval that the first gave, or flagged as noisy there. One in a hundred of those not
 * flagged is expected outside, by the meaning of the interval.
 */
import { performanceOf, type Summary } from './summary.ts';

export interface Outside {
  readonly workload: string;
  readonly system: string;
  readonly figure: string;
  /** Performance over the baseline's: the first's interval, and the second. */
  readonly low: number;
  readonly high: number;
  readonly ratio: number;
}

export interface Agreement {
  /** Ratios that both have. */
  readonly ratios: number;
  /** Ratios flagged in the first: nothing was promised of these. */
  readonly noisy: number;
  /** Flagged ratios that lie in the first's interval all the same. */
  readonly noisyInside: number;
  /** Ratios not flagged that lie in the first's interval. */
  readonly inside: number;
  readonly outside: readonly Outside[];
}

export function agreementOf(first: Summary, second: Summary): Agreement {
  let noisy = 0;
  let noisyInside = 0;
  let inside = 0;
  const outside: Outside[] = [];
  for (const cell of first.cells) {
    const [workload, system, figure] = [cell.workload.name, cell.system.name, cell.figure.name];
    const other = second.cell(workload, system, figure);
    const promised = performanceOf(cell);
    const found = other === undefined ? null : performanceOf(other);
    if (promised === null || found === null) continue;
    const { low, high } = promised;
    const isInside = low !== null && high !== null && low <= found.ratio && found.ratio <= high;
    if (promised.noisy || low === null || high === null) {
      noisy += 1;
      if (isInside) noisyInside += 1;
    } else if (isInside) inside += 1;
    else outside.push({ workload, system, figure, low, high, ratio: found.ratio });
  }
  return { ratios: noisy + inside + outside.length, noisy, noisyInside, inside, outside };
}
