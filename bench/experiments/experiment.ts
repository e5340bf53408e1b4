// SPDX-License-Identifier: Apache-2.0
/** What is measured apart from the workloads: one table for one figure. */
import { messageOf } from '../../src/base/errors.ts';
import type { Experiment, Run } from '../results.ts';
import type { Scale } from '../workloads/workload.ts';

export type Row = (number | string | null)[];

export interface ExperimentKind {
  readonly name: string;
  readonly title: string;
  readonly columns: readonly string[];
  /** About how long it takes, for the plan. */
  readonly seconds: Readonly<Record<Scale, number>>;
  /**
   * Tells each row when it is measured.
   * @throws when it cannot go on: what it has told until then stays, with the reason
   */
  measure(options: ExperimentOptions): Promise<void>;
}

export interface ExperimentOptions {
  readonly scale: Scale;
  readonly interrupted: AbortSignal;
  /** Runs of the workloads in the same results. */
  readonly runs: readonly Run[];
  readonly row: (row: Row) => void;
}

/** Never rejects: why it was not measured whole is in the result. */
export async function conduct(
  kind: ExperimentKind,
  options: Omit<ExperimentOptions, 'row'> & { readonly note: (text: string) => void },
): Promise<Experiment> {
  const { name, title, columns, measure } = kind;
  const rows: Row[] = [];
  let why_not: string | null = null;
  try {
    await measure({
      ...options,
      row(row) {
        rows.push(row);
        options.note(columns.map((column, at) => `${column} ${row[at] ?? '-'}`).join(', '));
      },
    });
  } catch (error) {
    why_not = messageOf(error);
    options.note(why_not);
  }
  return { name, title, columns, rows, why_not };
}
