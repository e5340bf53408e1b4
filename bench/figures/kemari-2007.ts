// SPDX-License-Identifier: Apache-2.0
/** Kemari 2007's table: Netperf, O_SYNC, buffered and fsync, without and with each protocol. */
import { type Bar, barChart } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { stacked, svgFile } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import { cite, KEMARI_2007 } from '../papers.ts';
import { REPEATS_OF_100 } from '../stats.ts';
import { performanceOf, Summary } from '../summary.ts';
import {
  absences,
  briefly,
  type Field,
  type Figure,
  gathered,
  isNotYet,
  isNowhere,
  PAPER_COLOUR,
  peersOf,
  percent,
  performanceBar,
  protocolsOf,
  two,
} from './figure.ts';

const { noSync, everyEvent, proposedFsyncRatio, proposedGain } = KEMARI_2007;

/** Each with the paper's two numbers, and where ours is. */
const METRICS = [
  {
    title: 'Network: Netperf, TCP into the guest',
    short: 'Netperf, Mbit/s',
    at: { workload: 'netperf', figure: 'TCP_STREAM' },
    paper: [noSync.netperf_mbit_s, everyEvent.netperf_mbit_s, null],
  },
  {
    title: 'File I/O: IOzone, O_SYNC write',
    short: 'O_SYNC, MB/s',
    at: { workload: 'iozone', figure: 'O_SYNC write' },
    paper: [noSync.osync_mb_s, everyEvent.osync_mb_s, null],
  },
  {
    title: 'File I/O: IOzone, buffered write and fsync',
    short: 'buffered + fsync, MB/s',
    at: { workload: 'iozone', figure: 'buffered+fsync write' },
    paper: [noSync.fsync_mb_s, everyEvent.fsync_mb_s, proposedFsyncRatio],
  },
] as const;

export const kemari2007: Figure = {
  name: 'kemari-2007',
  title: 'What protection costs: network and file I/O against no synchronization',
  source: `After the table of ${cite(KEMARI_2007)}`,
  make(results) {
    const summary = new Summary(results);
    const protocols = [...protocolsOf(results), ...peersOf(results)];
    const rows: (readonly Field[])[] = [];
    const notes: (string | null)[] = [];
    const groups = METRICS.map(({ title, at, paper: [none, every, proposed] }) => {
      const ours = protocols.map((system) => {
        const made = performanceBar(summary, at, system);
        rows.push(made.row);
        if (!isNowhere(summary, system)) notes.push(made.note);
        return made.bar;
      });
      rows.push([
        at.workload,
        at.figure,
        'paper: sync on every event',
        every / none,
        null,
        null,
        '',
      ]);
      rows.push([at.workload, at.figure, 'paper: proposed', proposed, null, null, '']);
      return { title, bars: [...paperBars(none, every, proposed), ...ours] };
    });
    const chart = barChart({
      axis: `performance over that without synchronization (1: nothing lost); whiskers: ${REPEATS_OF_100} % interval`,
      groups,
      reference: 1,
    });
    const all = [
      ...gathered(notes),
      ...absences(summary, protocols),
      'The paper gives its proposed protocol as a change only: ' +
        `${percent(proposedFsyncRatio - 1)} for buffered write and fsync against no-sync, and ` +
        `${percent(proposedGain[0])} to ${percent(proposedGain[1])} over sync on every event ` +
        'without saying of which.',
      'No synchronization is, in the paper, a VM on Xen; here, an unpatched QEMU (TCG). Both ' +
        'sides of a pair share the two cores and the disk of one host here.',
    ];
    const drawing = stacked([table(summary, protocols), chart]);
    return {
      svg: svgFile(kemari2007.title, kemari2007.source, drawing, all),
      columns: ['workload', 'figure', 'system', 'performance_ratio', 'low', 'high', 'note'],
      rows,
      notes: all,
    };
  },
};

function paperBars(none: number, every: number, proposed: number | null): Bar[] {
  const change = percent(every / none - 1);
  return [
    {
      label: 'Kemari, sync on every event',
      colour: PAPER_COLOUR,
      value: every / none,
      note: `${two(every / none)}: ${every} of ${none} (${change})`,
    },
    {
      label: 'Kemari, proposed',
      colour: PAPER_COLOUR,
      value: proposed,
      note:
        proposed === null
          ? 'no number in the source'
          : `${two(proposed)} (${percent(proposed - 1)})`,
    },
  ];
}

function table(summary: Summary, protocols: ReturnType<typeof protocolsOf>) {
  const paper = (name: string, of: (metric: (typeof METRICS)[number]) => string): TableRow => ({
    cells: [name, ...METRICS.map(of)],
    paper: true,
  });
  const { systems } = summary.results;
  const baseline = systems.find(({ baseline: base }) => base === null);
  const rows: TableRow[] = [
    paper('Kemari: no-sync', ({ paper: [none] }) => String(none)),
    paper('Kemari: sync on every event', ({ paper: [none, every] }) => {
      return `${every} (${percent(every / none - 1)})`;
    }),
    paper('Kemari: proposed', ({ paper: [, , proposed] }) =>
      proposed === null ? 'not in the source' : `(${percent(proposed - 1)})`,
    ),
    ...[...(baseline === undefined ? [] : [baseline]), ...protocols].map((system) => ({
      cells: [
        system === baseline ? `here: no-sync (${system.title})` : `here: ${system.title}`,
        ...METRICS.map(({ at, short }) => {
          const cell = summary.cell(at.workload, system.name, at.figure);
          if (cell?.value === undefined || cell.value === null) {
            const why = cell?.why ?? 'not measured';
            return isNotYet(why) ? 'not yet' : briefly(why);
          }
          // IOzone's are KB/s; the paper's MB/s.
          const scale = cell.figure.unit === 'KB/s' && short.includes('MB/s') ? 1000 : 1;
          const ratio = performanceOf(cell);
          const change = ratio === null ? '' : ` (${percent(ratio.ratio - 1)})`;
          return `${shortNumber(cell.value.median / scale)}${change}`;
        }),
      ],
    })),
  ];
  return tableDrawing(
    [
      { title: '' },
      ...METRICS.map(({ short }) => ({ title: short, align: 'right' as const, widthMax: 160 })),
    ],
    rows,
  );
}
