// SPDX-License-Identifier: Apache-2.0
/** How long the guest stands still for an epoch, by protocol, under network and file I/O. */
import { type Bar, type BarGroup, barChart } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { heading, stacked, svgFile } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import type { SystemFacts, WorkloadFacts } from '../results.ts';
import { Summary } from '../summary.ts';
import { absences, colourOfSystem, type Field, type Figure, protocolsOf } from './figure.ts';

/** By their names among the facts of a run; all of them since power-on. */
const WHOLE = [
  { fact: 'cut_pause_p50_ms', title: 'p50' },
  { fact: 'cut_pause_p99_ms', title: 'p99' },
  { fact: 'cut_pause_max_ms', title: 'longest' },
] as const;
const WORKLOADS = ['netperf', 'iozone', 'compile'];

export const pauses: Figure = {
  name: 'pauses',
  title: 'How long the guest stands still for an epoch',
  source: 'Measured here, of the protocols that cut epochs',
  make(results) {
    const summary = new Summary(results);
    const workloads = results.workloads.filter(({ name }) => WORKLOADS.includes(name));
    const cutting = protocolsOf(results).filter(({ name }) => cuts(summary, name));
    const rows: (readonly Field[])[] = [];
    const groups = workloads.flatMap((workload) => groupsOf(summary, workload, cutting, rows));
    const notes = [
      ...absences(summary, protocolsOf(results)),
      ...(groups.length === 0
        ? ['No run of a protocol that cuts epochs is in these results.']
        : []),
      'A pause is from where the guest stops to where it can go on. Under kemari and kemari-every ' +
        'it waits for the backup then, which is not in it. A digest that is due at a cut is.',
    ];
    const chart = barChart({ axis: 'pause, mean, ms (log)', groups, log: true });
    const table = wholeTable(summary, workloads, cutting, rows);
    const drawing =
      groups.length === 0
        ? heading('Nothing was measured')
        : stacked(
            [chart, heading('Over all of a workload, ms; all but the mean since power-on'), table],
            14,
          );
    return {
      svg: svgFile(pauses.title, pauses.source, drawing, notes),
      columns: ['workload', 'figure', 'system', 'fact', 'value_ms'],
      rows,
      notes,
    };
  },
};

function cuts(summary: Summary, system: string): boolean {
  return WORKLOADS.some((name) => summary.fact(name, system, 'cut_pause_mean_ms') !== null);
}

/** A group for each figure of a workload that has any. */
function groupsOf(
  summary: Summary,
  workload: WorkloadFacts,
  systems: readonly SystemFacts[],
  rows: (readonly Field[])[],
): BarGroup[] {
  const groups = workload.figures.map(({ name: figure }): BarGroup => {
    const bars = systems.flatMap(({ name, title }): Bar[] => {
      const fact = `${figure}: cut_pause_mean_ms`;
      const value = summary.fact(workload.name, name, fact);
      rows.push([workload.name, figure, name, 'cut_pause_mean_ms', value]);
      const pages = summary.fact(workload.name, name, `${figure}: cut_pages_mean`);
      if (value === null) return [];
      const many = pages === null ? '' : `, ${shortNumber(pages)} pages`;
      const note = `${shortNumber(value)} ms${many}`;
      return [{ label: title, colour: colourOfSystem(name), value, note }];
    });
    return { title: `${workload.title}: ${figure}`, bars };
  });
  return groups.filter(({ bars }) => bars.length > 0);
}

function wholeTable(
  summary: Summary,
  workloads: readonly WorkloadFacts[],
  systems: readonly SystemFacts[],
  rows: (readonly Field[])[],
) {
  const cells = workloads.flatMap(({ name: workload, title }) =>
    systems.flatMap((system): TableRow[] => {
      const mean = summary.fact(workload, system.name, 'cut_pause_mean_ms');
      if (mean === null) return [];
      const whole = WHOLE.map(({ fact }) => {
        const value = summary.fact(workload, system.name, fact);
        rows.push([workload, '', system.name, fact, value]);
        return value === null ? 'not told' : shortNumber(value);
      });
      const epochs = summary.fact(workload, system.name, 'epochs') ?? 0;
      return [{ cells: [title, system.title, shortNumber(epochs), shortNumber(mean), ...whole] }];
    }),
  );
  const right = (title: string) => ({ title, align: 'right' as const });
  return tableDrawing(
    [
      { title: 'workload' },
      { title: 'system' },
      right('epochs'),
      right('mean'),
      ...WHOLE.map(({ title }) => right(title)),
    ],
    cells,
  );
}
