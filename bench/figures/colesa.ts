// SPDX-License-Identifier: Apache-2.0
/**
 * Coleșa's two figures, dirtied pages and the time of an iteration against run time, and what its
 * text says of a session whose primary dies.
 */
import { type Bar, barChart } from '../charts/bars.ts';
import { type LineSeries, lineChart } from '../charts/lines.ts';
import { shortNumber } from '../charts/scale.ts';
import { heading, stacked, svgFile } from '../charts/svg.ts';
import { COLESA, cite } from '../papers.ts';
import { quantile } from '../stats.ts';
import { Summary } from '../summary.ts';
import { missingFrom, type NamedRow, numberOf, rowsOf } from './experiment-rows.ts';
import { colourOfSystem, type Field, type Figure, PAPER_COLOUR } from './figure.ts';

const SESSION = 'A session when the primary is killed: the longest time without an answer';

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
      ...missingFrom('failover', summary.experiment('failover')),
      "The paper's session is of ssh. Ours is the demo's client, which has one TCP connection and " +
        'asks 300 times a second.',
    ];
    const session = barChart({
      axis: 'ms',
      groups: [{ title: '', bars: sessions(rowsOf(summary.experiment('failover'))) }],
    });
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
      svg: svgFile(
        colesa.title,
        colesa.source,
        stacked([pages, iteration, pause, heading(SESSION), session], 20),
        notes,
      ),
      columns: experiment?.columns ?? ['workload'],
      rows: (experiment?.rows ?? []) as readonly (readonly Field[])[],
      notes,
    };
  },
};

/** The longest wait of all kills by each protocol, beside the paper's bound. */
function sessions(kills: readonly NamedRow[]): Bar[] {
  const paper: Bar = {
    label: 'Coleșa et al., ssh',
    colour: PAPER_COLOUR,
    value: null,
    range: [0, COLESA.failover_ms_max],
    note: `below ${shortNumber(COLESA.failover_ms_max)} ms`,
  };
  const protocols = [...new Set(kills.map((row) => String(row.protocol ?? 'lockstep')))];
  const ours = protocols.map((protocol): Bar => {
    const own = kills.filter((row) => String(row.protocol ?? 'lockstep') === protocol);
    const stalls = own.flatMap((row) => numberOf(row, 'stall_ms') ?? []).sort((a, b) => a - b);
    const value = stalls.at(-1) ?? null;
    const middle = value === null ? '' : `, p50 ${shortNumber(quantile(stalls, 0.5))}`;
    return {
      label: `here: ${protocol}`,
      colour: colourOfSystem(protocol),
      value,
      note:
        value === null
          ? 'no kill has told it'
          : `at most ${shortNumber(value)} ms${middle}, of ${stalls.length} kills`,
    };
  });
  const none: Bar = {
    label: 'here',
    colour: '#ffffff',
    value: null,
    note: 'not measured, see below',
  };
  return [paper, ...(ours.length === 0 ? [none] : ours)];
}

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
