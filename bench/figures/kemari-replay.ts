// SPDX-License-Identifier: Apache-2.0
/** Kemari logging-replay's figures: traffic, and file I/O, at different bandwidths. */
import { type Bar, type BarGroup, barColumns } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { heading, stacked, svgFile } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import { cite, KEMARI_REPLAY } from '../papers.ts';
import { Summary } from '../summary.ts';
import { missingFrom, type NamedRow, numberOf, rowsOf } from './experiment-rows.ts';
import {
  briefly,
  colourOfSystem,
  type Field,
  type Figure,
  gathered,
  percent,
  two,
} from './figure.ts';

const { diskTrafficReduced, trafficPerSyncReduced, throughputGain } = KEMARI_REPLAY;
/** The paper's two: copying dirty blocks, and logging-replay. */
const BLOCKS = 'kemari';
const IO_LOG = 'kemari-io-log';
/** The paper's workload. */
const FILE_IO = 'iozone';
const BESIDE: Readonly<Record<string, string>> = {
  [BLOCKS]: 'kemari, written blocks',
  [IO_LOG]: 'kemari, I/O log',
};

export const kemariReplay: Figure = {
  name: 'kemari-replay',
  title: 'Traffic and file I/O by the bandwidth of the link to the backup',
  source: `After the figures of ${cite(KEMARI_REPLAY)}`,
  make(results) {
    const experiment = new Summary(results).experiment('bandwidth');
    const rows = rowsOf(experiment).filter(({ system }) => typeof system === 'string');
    const notes = [
      ...missingFrom('bandwidth', experiment),
      ...gathered(
        rows.map(({ system, why_not: why }) => (why ? `${labelOf(system)}: ${why}.` : null)),
      ),
      'The paper compares copying dirty blocks with logging-replay; here these are kemari with its ' +
        'written blocks and with its I/O log. Under lockstep the backup executes the same writes ' +
        'by itself, and no block of a disk is sent.',
      'One run of each; 1 is plain TCG, which has no link. Traffic is what the link carried, both ' +
        'directions together.',
    ];
    const throughput = barColumns(
      {
        axis: 'performance over that of plain TCG',
        groups: groupsOf(rows, (own) => performanceOf(rows, own)),
        reference: 1,
        plotWidth: 200,
      },
      2,
    );
    const traffic = barColumns(
      { axis: 'Mbit/s (log)', groups: groupsOf(rows, trafficOf), log: true, plotWidth: 200 },
      2,
    );
    const perSync = barColumns(
      {
        axis: 'kB (log)',
        groups: groupsOf(
          rows.filter(({ workload }) => workload === FILE_IO),
          perSyncOf,
        ),
        log: true,
        plotWidth: 200,
      },
      2,
    );
    const parts = [
      comparison(rows),
      heading('Performance, protected, by link'),
      throughput,
      heading('Traffic to the backup and back'),
      traffic,
      heading('Traffic of one sync'),
      perSync,
    ];
    return {
      svg: svgFile(kemariReplay.title, kemariReplay.source, stacked(parts, 14), notes),
      columns: experiment?.columns ?? ['workload'],
      rows: (experiment?.rows ?? []) as readonly (readonly Field[])[],
      notes,
    };
  },
};

/** The paper's three numbers, and ours by figure and link. */
function comparison(rows: readonly NamedRow[]) {
  const written = rows.filter((row) => row.workload === FILE_IO && row.system === IO_LOG);
  const ours = written.flatMap((row): TableRow[] => {
    const blocks = sameBut(rows, row, BLOCKS);
    const change = (column: string): string => {
      const [to, from] = [numberOf(row, column), blocks === null ? null : numberOf(blocks, column)];
      return to === null || from === null || from === 0 ? 'not told' : percent(to / from - 1);
    };
    if (numberOf(row, 'value') === null) return [];
    const place = `here: ${row.figure}, ${linkName(row)}`;
    return [{ cells: [place, change('disk_sync_bytes'), change('sync_bytes'), change('value')] }];
  });
  const right = (title: string) => ({ title, align: 'right' as const, widthMax: 150 });
  return tableDrawing(
    [
      { title: 'logging-replay against copying dirty blocks', widthMax: 420 },
      right('traffic of a sync, disks alone'),
      right('traffic of a sync, memory included'),
      right('throughput of file I/O'),
    ],
    [
      {
        cells: [
          'Kemari, 2011',
          percent(-diskTrafficReduced),
          percent(-trafficPerSyncReduced),
          percent(throughputGain),
        ],
        paper: true,
      },
      ...ours,
    ],
  );
}

function sameBut(rows: readonly NamedRow[], one: NamedRow, system: string): NamedRow | null {
  const columns = ['workload', 'figure', 'link_mbit_per_s'];
  const isSame = (row: NamedRow): boolean => columns.every((name) => row[name] === one[name]);
  return rows.find((row) => row.system === system && isSame(row)) ?? null;
}

function linkName(row: NamedRow): string {
  const mbit = numberOf(row, 'link_mbit_per_s');
  return mbit === null ? 'link not limited' : `${shortNumber(mbit)} Mbit/s`;
}

function labelOf(system: unknown): string {
  return BESIDE[String(system)] ?? String(system);
}

type Value = { readonly value: number; readonly note: string };

/** Groups by figure; within one, bars by link. None of what nobody has. */
function groupsOf(rows: readonly NamedRow[], valueIn: (row: NamedRow) => Value | null): BarGroup[] {
  const links = rows.filter(({ system }) => system !== 'plain');
  const figures = [...new Set(links.map((row) => `${row.workload}\n${row.figure}`))];
  const groups = figures.map((key): BarGroup => {
    const [workload = '', figure = ''] = key.split('\n');
    const own = links.filter((row) => row.workload === workload && row.figure === figure);
    const bars = own.map((row): Bar => {
      const found = valueIn(row);
      const why = typeof row.why_not === 'string' ? briefly(row.why_not) : 'no value';
      return {
        label: `${labelOf(row.system)}, ${linkName(row)}`,
        colour: colourOfSystem(String(row.system)),
        value: found?.value ?? null,
        note: found?.note ?? why,
      };
    });
    return { title: `${workload}, ${figure}`, bars };
  });
  const isEmpty = groups.every(({ bars }) => bars.length === 0);
  return isEmpty ? [{ title: '', bars: [nothing()] }] : groups;
}

function performanceOf(rows: readonly NamedRow[], row: NamedRow): Value | null {
  const base = rows.find(
    (one) => one.system === 'plain' && one.workload === row.workload && one.figure === row.figure,
  );
  const plain = base === undefined ? null : numberOf(base, 'value');
  const value = numberOf(row, 'value');
  if (value === null || plain === null) return null;
  // Times are better low.
  const ratio = row.unit === 's' ? plain / value : value / plain;
  return {
    value: ratio,
    note: `${two(ratio)}: ${shortNumber(value)} of ${shortNumber(plain)} ${row.unit}`,
  };
}

function trafficOf(row: NamedRow): Value | null {
  const value = numberOf(row, 'traffic_mbit_per_s') ?? numberOf(row, 'log_mbit_per_s');
  return value === null ? null : { value, note: `${shortNumber(value)} Mbit/s` };
}

function perSyncOf(row: NamedRow): Value | null {
  const bytes = numberOf(row, 'sync_bytes');
  if (bytes === null) return null;
  const perS = numberOf(row, 'syncs_per_s');
  const often = perS === null ? '' : `, ${shortNumber(perS)} syncs/s`;
  return { value: bytes / 1000, note: `${shortNumber(bytes / 1000)} kB${often}` };
}

function nothing(): Bar {
  return { label: 'kemari', colour: '#ffffff', value: null, note: 'not measured, see below' };
}
