// SPDX-License-Identifier: Apache-2.0
/** VMware FT's table: performance over that without protection, and the rate of the log. */
import { shortNumber } from '../charts/scale.ts';
import { svgFile } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import { cite, VMWARE_FT } from '../papers.ts';
import type { WorkloadFacts } from '../results.ts';
import { REPEATS_OF_100 } from '../stats.ts';
import { performanceOf, Summary } from '../summary.ts';
import { type Field, type Figure, gathered, isNotYet, ratioText } from './figure.ts';

/** Whose row is beside ours: the nearest of theirs, by its place in the paper's tables. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  cpu: ['SPECjbb'],
  compile: ['kernel compile'],
  sql: ['Swingbench', 'DVD Store'],
  idle: ['idle'],
  netperf: ['Netperf receive, 1 Gbit/s', 'Netperf send, 1 Gbit/s'],
};
const SYSTEM = 'lockstep';

export const vmwareFt: Figure = {
  name: 'vmware-ft',
  title: 'Performance with and without protection, and the rate of the log',
  source: `After the tables of ${cite(VMWARE_FT)}`,
  make(results) {
    const summary = new Summary(results);
    const csv: (readonly Field[])[] = [];
    const notes: (string | null)[] = [];
    const rows = results.workloads.flatMap((workload): TableRow[] => {
      const papers = (BESIDE[workload.name] ?? []).map((name): TableRow => {
        const row = VMWARE_FT.rows.find((one) => one.workload === name);
        const ratio = row?.ratio ?? null;
        csv.push(['paper', name, '', ratio, null, null, row?.log_mbit_s ?? null]);
        const rate = row?.log_mbit_s ?? '';
        return {
          cells: [`VMware FT: ${name}`, ratioOfPaper(name, ratio), rate, ''],
          paper: true,
        };
      });
      return [
        { cells: [workload.title], heading: true },
        ...papers,
        ...ours(summary, workload, csv, notes),
      ];
    });
    const table = tableDrawing(
      [
        { title: 'workload', widthMax: 250 },
        {
          title: `protected over not (${REPEATS_OF_100} % interval)`,
          align: 'right',
          widthMax: 190,
        },
        { title: 'log, Mbit/s', align: 'right', widthMax: 100 },
        { title: 'lag p50 / p99, ms', align: 'right', widthMax: 130 },
      ],
      rows,
    );
    const all = [
      ...gathered(notes),
      'The rate of our log is over all parts of a workload together, from protected to ' +
        'power-off. Netperf of the paper is bound by its link of 1 Gbit/s; ours is not.',
    ];
    return {
      svg: svgFile(vmwareFt.title, vmwareFt.source, table, all),
      columns: ['from', 'workload', 'figure', 'ratio', 'low', 'high', 'log_mbit_s'],
      rows: csv,
      notes: all,
    };
  },
};

function ratioOfPaper(name: string, ratio: number | null): string {
  if (ratio === null) return '–';
  const pair = name.includes('receive')
    ? VMWARE_FT.receive
    : name.includes('send')
      ? VMWARE_FT.send
      : null;
  return pair === null ? ratio.toFixed(2) : `${ratio.toFixed(2)}: ${pair[0]} of ${pair[1]} Mbit/s`;
}

function ours(
  summary: Summary,
  workload: WorkloadFacts,
  csv: (readonly Field[])[],
  notes: (string | null)[],
): TableRow[] {
  const why = summary.whyNot(workload.name, SYSTEM);
  if (why !== null) {
    notes.push(`${workload.title}: ${why}`);
    csv.push(['ours', workload.name, '', null, null, null, null]);
    return [{ cells: [`here: ${workload.title}`, isNotYet(why) ? 'not yet' : why, '', ''] }];
  }
  const bytes = summary.fact(workload.name, SYSTEM, 'log_bytes_per_s');
  const rate = bytes === null ? null : (bytes * 8) / 1e6;
  const lags = ['lag_p50_ms', 'lag_p99_ms'].map((fact) =>
    summary.fact(workload.name, SYSTEM, fact),
  );
  const lag = lags.some((each) => each === null)
    ? 'not measured'
    : lags.map((each) => shortNumber(each ?? 0)).join(' / ');
  return workload.figures.map((figure, at) => {
    const cell = summary.cell(workload.name, SYSTEM, figure.name);
    const ratio = cell === undefined ? null : performanceOf(cell);
    csv.push([
      'ours',
      workload.name,
      figure.name,
      ratio?.ratio ?? null,
      ratio?.low ?? null,
      ratio?.high ?? null,
      rate,
    ]);
    if (ratio === null) notes.push(`${workload.title}, ${figure.name}: ${cell?.why ?? 'no ratio'}`);
    const isFirst = at === 0;
    return {
      cells: [
        `here: ${figure.name}`,
        ratio === null ? 'none, see below' : ratioText(ratio),
        isFirst ? (rate === null ? 'not measured' : shortNumber(rate)) : '″',
        isFirst ? lag : '″',
      ],
    };
  });
}
