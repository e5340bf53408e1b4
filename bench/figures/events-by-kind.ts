// SPDX-License-Identifier: Apache-2.0
/**
 * What the syncs of protocols by checkpoint were for, in the three of Kemari 2007's workloads,
 * and how many fewer they are when only what the outside can see is synced.
 */
import { shortNumber } from '../charts/scale.ts';
import type { Drawing } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import type { SystemFacts } from '../results.ts';
import type { Summary } from '../summary.ts';
import { type Field, percent } from './figure.ts';

const PARTS = [
  { workload: 'netperf', figure: 'TCP_STREAM', title: 'Netperf, TCP into the guest' },
  { workload: 'iozone', figure: 'O_SYNC write', title: 'IOzone, O_SYNC write' },
  { workload: 'iozone', figure: 'buffered+fsync write', title: 'IOzone, buffered write and fsync' },
] as const;

/** Events by their names in status (`cut_events`); the others together. */
const KINDS = [
  ['packet out', ['net_out', 'net_lone']],
  ['disk write', ['disk_write']],
  ['console out', ['char_out']],
  ['packet in', ['net_in']],
  ['disk done', ['disk_done']],
  ['timer', ['timer']],
  ['typed, entropy', ['char_in', 'entropy']],
] as const;

/** Work of one MB or Mbit, by the unit of a rate: what is counted by it is not by time. */
const WORK: Readonly<Record<string, readonly [name: string, perRate: number]>> = {
  'KB/s': ['MB', 1000],
  'Mbit/s': ['Mbit', 1],
};
const ALL = 'kemari-every';

export interface ByKind {
  /** Null: no run has it. */
  readonly drawing: Drawing | null;
  readonly rows: readonly (readonly Field[])[];
}

export function eventsByKind(summary: Summary, protocols: readonly SystemFacts[]): ByKind {
  const table: TableRow[] = [];
  const rows: (readonly Field[])[] = [];
  for (const part of PARTS) {
    const known = protocols.flatMap((system) => syncsOf(summary, part, system));
    if (known.length === 0) continue;
    table.push({ cells: [part.title], heading: true });
    const all = known.find(({ system }) => system.name === ALL);
    for (const { system, perS, work, byKind, transferUs } of known) {
      const others = byKind.reduce((sum, each) => sum + each, 0);
      table.push({
        cells: [
          system.title,
          shortNumber(perS),
          ...byKind.map(shortNumber),
          shortNumber(Math.max(0, perS - others)),
          work === null ? '–' : `${shortNumber(work.count)} / ${work.of}`,
          system === all?.system ? '' : changeOf(work?.count, all?.work?.count),
          transferUs === null ? '–' : shortNumber(transferUs),
          system === all?.system ? '' : timesOf(transferUs, all?.transferUs),
        ],
      });
      const place = `${part.workload} ${part.figure}`;
      rows.push(['syncs_per_s', place, system.name, perS, null]);
      byKind.forEach((each, at) => {
        rows.push([`syncs_per_s for ${KINDS[at]?.[0]}`, place, system.name, each, null]);
      });
      rows.push(['transfer_us', place, system.name, transferUs, null]);
      if (work !== null) rows.push([`syncs_per_${work.of}`, place, system.name, work.count, null]);
    }
  }
  if (table.length === 0) return { drawing: null, rows };
  const right = (title: string) => ({ title, align: 'right' as const, widthMax: 74 });
  const heads = [
    { title: 'syncs a second, and for what', widthMax: 210 },
    right('all'),
    ...KINDS.map(([title]) => right(title)),
    right('by time'),
    right('by work'),
    right('against every event'),
    right('one transfer, µs'),
    right('against every event'),
  ];
  return { drawing: tableDrawing(heads, table), rows };
}

function changeOf(count: number | undefined, all: number | undefined): string {
  return count === undefined || all === undefined ? '–' : percent(count / all - 1);
}

function timesOf(us: number | null, all: number | null | undefined): string {
  return us === null || typeof all !== 'number' ? '–' : `× ${shortNumber(us / all)}`;
}

interface Syncs {
  readonly system: SystemFacts;
  readonly perS: number;
  /** In the order of KINDS; the others ended by time. */
  readonly byKind: readonly number[];
  readonly work: { readonly of: string; readonly count: number } | null;
  readonly transferUs: number | null;
}

/** None of a protocol that cuts no epochs. */
function syncsOf(
  summary: Summary,
  { workload, figure }: (typeof PARTS)[number],
  system: SystemFacts,
): Syncs[] {
  const fact = (name: string): number | null =>
    summary.fact(workload, system.name, `${figure}: ${name}`);
  const perS = fact('epochs_per_s');
  if (perS === null || fact('cut_pages_mean') === null) return [];
  const byKind = KINDS.map(([, kinds]) =>
    kinds.reduce((sum, kind) => sum + (fact(`${kind}_cuts_per_s`) ?? 0), 0),
  );
  const cell = summary.cell(workload, system.name, figure);
  const unit = WORK[cell?.figure.unit ?? ''];
  const rate = cell?.value?.median;
  const work =
    unit === undefined || rate === undefined
      ? null
      : { of: unit[0], count: (perS / rate) * unit[1] };
  return [{ system, perS, byKind, work, transferUs: fact('epoch_ack_mean_us') }];
}
