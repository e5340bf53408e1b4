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
    const experiment = new Summary(results).experiment('dirty-pages');
    const rows = rowsOf(experiment);
    const notes = [
      ...missingFrom('dirty-pages', experiment),
      'The paper gives no numbers: its figures are pictures in our copy of the source. Its text: ' +
        'the pages grow with the run time, but not linearly; taking and sending a checkpoint ' +
        'takes considerably longer than running in between.',
      'An iteration of the paper is run, suspend, checkpoint (sent over the network), resume. ' +
        "Here it is run and pause: what the guest stands still for a recording's checkpoint, " +
        'which is written to a local disk. Not yet in this version: checkpoints sent to a backup ' +
        'as a protocol of its own (remus).',
    ];
    const pages = lineChart({
      title: 'Pages dirtied since the last checkpoint (of 4 KiB, mean)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'pages (log)',
      x: 'log',
      y: 'log',
      series: seriesOf(rows, 'dirty_pages'),
      note: 'not measured, see below',
    });
    const pause = lineChart({
      title: 'Pause for the checkpoint (mean; whisker: up to the longest)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'ms (log)',
      x: 'log',
      y: 'log',
      series: seriesOf(rows, 'pause_ms', 'pause_max_ms'),
      note: 'not measured, see below',
    });
    const iteration = lineChart({
      title: 'An iteration: run and pause (mean)',
      xAxis: 'run time between two checkpoints, ms (log)',
      yAxis: 'ms (log)',
      x: 'log',
      y: 'log',
      series: rows.length === 0 ? [] : iterationOf(rows),
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
  const whole = workloadsOf(rows).map((workload) => ({
    name: workload,
    points: rows.flatMap((row) => {
      const [run, pause] = [numberOf(row, 'run_ms'), numberOf(row, 'pause_ms')];
      if (row.workload !== workload || run === null || pause === null || run <= 0) return [];
      return [{ x: run, y: run + pause }];
    }),
  }));
  return whole;
}
