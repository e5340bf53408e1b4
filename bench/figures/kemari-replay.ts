// SPDX-License-Identifier: Apache-2.0
/** Kemari logging-replay's figures: traffic, and file I/O, at different bandwidths. */
import { type Bar, type BarGroup, barChart } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { heading, stacked, svgFile } from '../charts/svg.ts';
import { tableDrawing } from '../charts/table.ts';
import { cite, KEMARI_REPLAY } from '../papers.ts';
import { Summary } from '../summary.ts';
import { missingFrom, type NamedRow, numberOf, rowsOf } from './experiment-rows.ts';
import { colourOfSystem, type Field, type Figure, percent, two } from './figure.ts';

const { diskTrafficReduced, trafficPerSyncReduced, throughputGain } = KEMARI_REPLAY;
const NOT_YET = ['disk = "blocks" (copying dirty blocks)', 'disk = "io-log" (logging-replay)'];

export const kemariReplay: Figure = {
  name: 'kemari-replay',
  title: 'Traffic and file I/O by the bandwidth of the link to the backup',
  source: `After the figures of ${cite(KEMARI_REPLAY)}`,
  make(results) {
    const experiment = new Summary(results).experiment('bandwidth');
    const rows = rowsOf(experiment).filter(({ system }) => typeof system === 'string');
    const notes = [
      ...missingFrom('bandwidth', experiment),
      `Not yet in this version, and so not measured: ${NOT_YET.join('; ')}. The paper compares ` +
        'these two. What is measured here is lockstep: the backup executes the same writes by ' +
        'itself, and no block of a disk is sent.',
      'One run of each; 1 is plain TCG, which has no link.',
    ];
    const throughput = barChart({
      axis: 'performance over that of plain TCG',
      groups: groupsOf(rows),
      reference: 1,
    });
    const traffic = barChart({
      axis: 'log sent, Mbit/s (log)',
      groups: trafficOf(rows),
      log: true,
    });
    const drawing = stacked(
      [
        paperTable(),
        heading('Performance, protected, by link'),
        throughput,
        heading('Traffic to the backup, over all of the workload'),
        traffic,
      ],
      14,
    );
    return {
      svg: svgFile(kemariReplay.title, kemariReplay.source, drawing, notes),
      columns: experiment?.columns ?? ['workload'],
      rows: (experiment?.rows ?? []) as readonly (readonly Field[])[],
      notes,
    };
  },
};

function paperTable() {
  return tableDrawing(
    [
      { title: 'Kemari: logging-replay against copying dirty blocks', widthMax: 420 },
      { title: '', align: 'right' },
    ],
    [
      ['traffic to synchronize the disks alone', percent(-diskTrafficReduced)],
      ['traffic of one sync, memory included', percent(-trafficPerSyncReduced)],
      ['throughput of file I/O', percent(throughputGain)],
    ].map((cells) => ({ cells, paper: true })),
  );
}

function linkName(row: NamedRow): string {
  const mbit = numberOf(row, 'link_mbit_per_s');
  return mbit === null ? 'link not limited' : `${shortNumber(mbit)} Mbit/s`;
}

/** Groups by figure; within one, bars by link. */
function groupsOf(rows: readonly NamedRow[]): BarGroup[] {
  const figures = [...new Set(rows.map((row) => `${row.workload}\n${row.figure}`))];
  const groups = figures.map((key): BarGroup => {
    const [workload = '', figure = ''] = key.split('\n');
    const own = rows.filter((row) => row.workload === workload && row.figure === figure);
    const base = own.find((row) => row.system === 'plain');
    const plain = base === undefined ? null : numberOf(base, 'value');
    const bars = own.filter((row) => row !== base).map((row) => barOf(row, plain));
    // The paper's two are of file I/O.
    const more = workload === 'iozone' ? notYet() : [];
    return { title: `${workload}, ${figure}`, bars: [...bars, ...more] };
  });
  return groups.length > 0 ? groups : [{ title: '', bars: [nothing(), ...notYet()] }];
}

function barOf(row: NamedRow, plain: number | null): Bar {
  const value = numberOf(row, 'value');
  const label = `${row.system}, ${linkName(row)}`;
  const colour = colourOfSystem(String(row.system));
  if (value === null || plain === null) {
    const note = value === null ? 'no value' : 'no value of plain TCG';
    return { label, colour, value: null, note };
  }
  // Times are better low.
  const ratio = row.unit === 's' ? plain / value : value / plain;
  const note = `${two(ratio)}: ${shortNumber(value)} of ${shortNumber(plain)} ${row.unit}`;
  return { label, colour, value: ratio, note };
}

function trafficOf(rows: readonly NamedRow[]): BarGroup[] {
  const workloads = [...new Set(rows.map(({ workload }) => String(workload)))];
  const groups = workloads.map((workload): BarGroup => {
    const seen = new Set<string>();
    const bars = rows.flatMap((row): Bar[] => {
      const value = numberOf(row, 'log_mbit_per_s');
      const label = `${row.system}, ${linkName(row)}`;
      if (row.workload !== workload || value === null || seen.has(label)) return [];
      seen.add(label);
      const note = `${shortNumber(value)} Mbit/s`;
      return [{ label, colour: colourOfSystem(String(row.system)), value, note }];
    });
    return { title: workload, bars: workload === 'iozone' ? [...bars, ...notYet()] : bars };
  });
  const drawn = groups.filter(({ bars }) => bars.length > 0);
  return drawn.length > 0 ? drawn : [{ title: '', bars: [nothing(), ...notYet()] }];
}

function notYet(): Bar[] {
  return ['Kemari, dirty blocks', 'Kemari, logging-replay'].map((label) => {
    return { label, colour: '#ffffff', value: null, note: 'not yet' };
  });
}

function nothing(): Bar {
  return { label: 'lockstep', colour: '#ffffff', value: null, note: 'not measured, see below' };
}
