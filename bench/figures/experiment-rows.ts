// SPDX-License-Identifier: Apache-2.0
/** Rows of an experiment by the names of their columns. */
import type { Experiment } from '../results.ts';

export type NamedRow = Readonly<Record<string, number | string | null>>;

export function rowsOf(experiment: Experiment | undefined): NamedRow[] {
  if (experiment === undefined) return [];
  const { columns, rows } = experiment;
  return rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at] ?? null])));
}

/** Null where it is none. */
export function numberOf(row: NamedRow, column: string): number | null {
  const value = row[column];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** Why there is nothing, or not all, of it. */
export function missingFrom(name: string, experiment: Experiment | undefined): string[] {
  if (experiment === undefined) return [`The experiment "${name}" was not run.`];
  const { why_not, rows } = experiment;
  if (why_not === null) return rows.length === 0 ? [`The experiment "${name}" has no rows.`] : [];
  return [`${rows.length === 0 ? 'Not measured' : 'Not measured whole'}: ${why_not}`];
}
