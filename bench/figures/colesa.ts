// SPDX-License-Identifier: Apache-2.0
/** Coleșa's two figures: dirtied pages, and the time of an iteration, against run time. */
import { type LineSeries, lineChart } from '../charts/lines.ts';
import { stacked, svgFile } from '../charts/svg.ts';
import { COLESA, cite } from '../papers.ts';
import { Summary } from '../summary.ts';
import { missingFrom, type NamedRow, numberOf, rowsOf } from './experiment-rows.ts';
import type { Field, Figure } from './figure.ts';

export const colesa: Figure = {
  name: 'colesa',
  title: 'Dirtied pages, and the time of an iteration, against the run time between checkpoints',
  source: `After figures 2 and 3 of ${cite(COLESA)}`,
  make(results) {
    const summary = new Summary(results);
    const experiment = summary.experiment('epochs');
    const rows = rowsOf(experiment);
    const recorded = rowsOf(summary.experiment('dirty-pages')).map((row) => {
      return { ...row, workload: `${row.workload}, recorded` };
    });
    const notes = [
      ...missingFrom('epochs', experiment),
      ...missingFrom('dirty-pages', summary.experiment('dirty-pages')),
      'The paper gives no numbers: its figures are pictures in our copy of the source. Its text: ' +
        'the pages grow with the run time, but not linearly; taking and sending a checkpoint ' +
        'takes considerably longer than running in between.',
      'An iteration of the paper is run, suspend, checkpoint (sent over the network), resume, one ' +
        'after the other. Here it is of remus: run, pause (suspend and resume), and copy, from ' +
        "the epoch's seal until the backup has it. The guest runs on during the copy, so their " +
        'sum is what the paper would have of it, and not the time of an iteration here.',
      '"recorded": checkpoints of `understudy record`, which go to a local disk.',
    ];
    const pages = lineChart({
      title: 'Pages dirtied between two checkpoints (of 4 KiB, mean)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'pages (log)',
      x: 'log',
      y: 'log',
      series: seriesOf([...rows, ...recorded], 'dirty_pages'),
      note: 'not measured, see below',
    });
    const pause = lineChart({
      title: 'Pause for the checkpoint (mean; whisker: up to the longest)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'ms (log)',
      x: 'log',
      y: 'log',
      series: seriesOf([...rows, ...recorded], 'pause_ms', 'pause_max_ms'),
      note: 'not measured, see below',
    });
    const iteration = lineChart({
      title: 'An iteration: run, pause, copy (mean)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'ms (log)',
      x: 'log',
      y: 'log',
      series: iterationOf(rows),
      note: 'not measured, see below',
    });
    return {
      svg: svgFile(colesa.title, colesa.source, stacked([pages, iteration, pause], 20), notes),
      columns: experiment?.columns ?? ['workload'],
      rows: (experiment?.rows ?? []) as readonly (readonly Field[])[],
      notes,
    };
  },
};

function workloadsOf(rows: readonly NamedRow[]): string[] {
  return [...new Set(rows.map(({ workload }) => String(workload)))];
}

function seriesOf(rows: readonly NamedRow[], column: string, highest?: string): LineSeries[] {
  return workloadsOf(rows).map((workload) => ({
    name: workload,
    points: rows.flatMap((row) => {
      const [x, y] = [numberOf(row, 'run_ms'), numberOf(row, column)];
      if (row.workload !== workload || x === null || y === null || x <= 0 || y <= 0) return [];
      const high = highest === undefined ? null : numberOf(row, highest);
      return [{ x, y, ...(high === null ? {} : { low: y, high }) }];
    }),
  }));
}

function iterationOf(rows: readonly NamedRow[]): LineSeries[] {
  return workloadsOf(rows).flatMap((workload): LineSeries[] => {
    const own = rows.filter((row) => row.workload === workload);
    const copies = seriesOf(own, 'copy_ms').flatMap(({ points }) => points);
    return [
      { name: `${workload}: all of it`, points: own.flatMap(wholeOf) },
      { name: `${workload}: copy`, points: copies },
    ];
  });
}

function wholeOf(row: NamedRow): LineSeries['points'] {
  const [run, pause, copy] = ['run_ms', 'pause_ms', 'copy_ms'].map((name) => numberOf(row, name));
  if (typeof run !== 'number' || typeof pause !== 'number' || typeof copy !== 'number') return [];
  return run <= 0 ? [] : [{ x: run, y: run + pause + copy }];
}
