// SPDX-License-Identifier: Apache-2.0
/** Comma-separated values, as RFC 4180 has them, for spreadsheets and R. */
import type { BenchResults } from '../results.ts';
import { excludedBecause } from '../summary.ts';

export type CsvField = string | number | boolean | null;

export function csv(columns: readonly string[], rows: readonly (readonly CsvField[])[]): string {
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

function field(value: CsvField): string {
  if (value === null) return '';
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Each figure and each fact of each run is a row, whether the run counts or not. */
export function resultsCsv(results: BenchResults): string {
  const units = new Map(
    results.workloads.flatMap(({ name, figures }) =>
      figures.map((figure) => [`${name}\n${figure.name}`, figure.unit] as const),
    ),
  );
  const systems = new Map(results.systems.map((system) => [system.name, system]));
  const rows = results.runs.flatMap((run): CsvField[][] => {
    const why = excludedBecause(run, systems.get(run.system));
    const { workload, system, round, started_at, seconds } = run;
    const common = [workload, system, round, started_at, seconds, why === null, why ?? ''];
    const values = Object.entries(run.values).map(([name, value]): CsvField[] => {
      return [...common, 'figure', name, units.get(`${workload}\n${name}`) ?? '', value];
    });
    const facts = Object.entries(run.facts).map(([name, value]): CsvField[] => {
      return [...common, 'fact', name, '', value];
    });
    return [...values, ...facts];
  });
  const absent = results.absent.map(({ workload, system, why }): CsvField[] => {
    return [workload, system, null, '', null, false, why, 'absent', '', '', null];
  });
  return csv(
    [
      'workload',
      'system',
      'round',
      'started_at',
      'seconds',
      'counts',
      'why_not',
      'kind',
      'name',
      'unit',
      'value',
    ],
    [...rows, ...absent],
  );
}
