// SPDX-License-Identifier: Apache-2.0
/** Bressoud and Schneider's figure: normalized performance against the epoch's length. */
import { type LineSeries, lineChart } from '../charts/lines.ts';
import { stacked, svgFile } from '../charts/svg.ts';
import { BRESSOUD_SCHNEIDER, cite } from '../papers.ts';
import { performanceOf, Summary } from '../summary.ts';
import { absences, epochOf, type Field, type Figure, protocolsOf } from './figure.ts';

const { slowdown, slowdownRevised } = BRESSOUD_SCHNEIDER;

/** As theirs: computing, writing, reading; and the network, which they did not have. */
const CURVES = [
  { name: 'CPU-bound', workload: 'cpu', figure: 'MD5' },
  { name: 'write, O_SYNC', workload: 'iozone', figure: 'O_SYNC write' },
  { name: 'read', workload: 'iozone', figure: 'read' },
  { name: 'compile', workload: 'compile', figure: 'make' },
  { name: 'TCP_RR', workload: 'netperf', figure: 'TCP_RR' },
  { name: 'TCP_STREAM', workload: 'netperf', figure: 'TCP_STREAM' },
] as const;

export const bressoudSchneider: Figure = {
  name: 'bressoud-schneider',
  title: 'Normalized performance against the length of an epoch',
  source: `After ${cite(BRESSOUD_SCHNEIDER)}`,
  make(results) {
    const summary = new Summary(results);
    const protocols = protocolsOf(results);
    const epochs = protocols.flatMap(({ name }) => {
      const length = epochOf(summary, name);
      return length === null ? [] : [{ name, length }];
    });
    const rows: (readonly Field[])[] = [];
    const normalized = (system: string, workload: string, figure: string) => {
      const cell = summary.cell(workload, system, figure);
      const ratio = cell === undefined ? null : performanceOf(cell);
      if (ratio === null) return null;
      // Theirs is a time over a time: 1 is as fast as bare, more is slower.
      const inverse = (value: number | null): number | null => (value === null ? null : 1 / value);
      return { y: 1 / ratio.ratio, low: inverse(ratio.high), high: inverse(ratio.low) };
    };
    const series = CURVES.map(({ name, workload, figure }): LineSeries => {
      const points = epochs.flatMap(({ name: system, length }) => {
        const point = normalized(system, workload, figure);
        rows.push([
          system,
          length,
          workload,
          figure,
          point?.y ?? null,
          point?.low ?? null,
          point?.high ?? null,
        ]);
        return point === null ? [] : [{ x: length, ...point }];
      });
      return { name, points };
    });
    const revised = CURVES.flatMap(({ name, workload, figure }) => {
      const point = normalized('lockstep', workload, figure);
      rows.push([
        'lockstep',
        null,
        workload,
        figure,
        point?.y ?? null,
        point?.low ?? null,
        point?.high ?? null,
      ]);
      return point === null ? [] : [`${name} ${point.y.toFixed(2)}`];
    });
    const isMeasured = series.some(({ points }) => points.length > 0);
    const notYet = 'not yet: no protocol with epochs of a fixed length in these results';
    const notes = [
      ...absences(summary, protocols),
      ...(isMeasured ? [] : [`${notYet}.`]),
      `The paper: about ${slowdown} times the time of the bare machine; with its revised ` +
        `protocols ${slowdownRevised[0]} to ${slowdownRevised[1]}. Its numbers by epoch length ` +
        'are in none of the sources that we have, and so are not drawn.',
      revised.length === 0
        ? 'lockstep, which seals at outputs as the revised protocol does: not measured.'
        : `lockstep, which seals at outputs as the revised protocol does, here: ${revised.join(', ')}.`,
    ];
    return {
      svg: svgFile(
        bressoudSchneider.title,
        bressoudSchneider.source,
        stacked([chartOf(series)]),
        notes,
      ),
      columns: ['system', 'epoch_instructions', 'workload', 'figure', 'normalized', 'low', 'high'],
      rows,
      notes,
    };
  },
};

function chartOf(series: readonly LineSeries[]) {
  return lineChart({
    title: 'lockstep-epoch: time over that of the baseline',
    xAxis: 'length of an epoch, instructions (log)',
    yAxis: 'normalized time, 1: as the baseline (log)',
    x: 'log',
    y: 'log',
    series,
    bands: [
      { name: `the paper, as built: about ${slowdown}`, axis: 'y', from: slowdown, to: slowdown },
      {
        name: `the paper, revised protocols: ${slowdownRevised[0]} to ${slowdownRevised[1]}`,
        axis: 'y',
        from: slowdownRevised[0],
        to: slowdownRevised[1],
      },
    ],
    note: 'not yet',
  });
}
