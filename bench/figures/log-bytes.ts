// SPDX-License-Identifier: Apache-2.0
/** Log bytes per 1000 instructions, against QEMU's own record/replay. */
import { type Bar, barChart } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { svgFile } from '../charts/svg.ts';
import { cite, QEMU_RR, RETRACE } from '../papers.ts';
import { median } from '../stats.ts';
import { Summary } from '../summary.ts';
import { missingFrom, numberOf, rowsOf } from './experiment-rows.ts';
import { briefly, colourOfSystem, type Field, type Figure, PAPER_COLOUR } from './figure.ts';

const SYSTEMS = ['record', 'lockstep', 'rr-record'];

export const logBytes: Figure = {
  name: 'log-bytes',
  title: 'Log per 1000 instructions',
  source: `Beside ${RETRACE.citation} and ${QEMU_RR.citation}`,
  make(results) {
    const summary = new Summary(results);
    const experiment = summary.experiment('log-density');
    const rows: (readonly Field[])[] = [];
    const notes = [...missingFrom('log-density', experiment)];
    const known = rowsOf(experiment);
    const groups = results.workloads.map((workload) => ({
      title: workload.title,
      bars: results.systems
        .filter(({ name }) => SYSTEMS.includes(name))
        .map(({ name, title }): Bar => {
          const values = known.flatMap((row) =>
            row.workload === workload.name && row.system === name
              ? (numberOf(row, 'bytes_per_1000') ?? [])
              : [],
          );
          const own = ownDensities(summary, workload.name, name);
          const all = values.length > 0 ? values : own;
          const value = all.length === 0 ? null : median(all);
          const why =
            summary.whyNot(workload.name, name) ?? 'its log or its instructions are not known';
          rows.push([workload.name, name, value, value === null ? why : '']);
          if (value === null) notes.push(`${workload.title}, ${title}: ${why}.`);
          const note = value === null ? briefly(why) : shortNumber(value);
          return { label: title, colour: colourOfSystem(name), value, note };
        }),
    }));
    const references = [
      { label: 'VMware ReTrace', value: RETRACE.bytesPerThousand },
      { label: 'QEMU rr=record, measured before', value: QEMU_RR.bytesPerThousand },
    ].map(({ label, value }) => {
      return { label, value, colour: PAPER_COLOUR, note: shortNumber(value) };
    });
    const chart = barChart({
      axis: 'bytes of log per 1000 instructions, median of the rounds (log)',
      groups: [{ title: 'Others, whole systems', bars: references }, ...groups],
      log: true,
    });
    const all = [
      ...notes,
      'QEMU does not tell how many instructions it recorded: those that our recording had of the ' +
        'same workload in the same round stand for both.',
      cite(RETRACE),
      cite(QEMU_RR),
    ];
    return {
      svg: svgFile(logBytes.title, logBytes.source, chart, all),
      columns: ['workload', 'system', 'bytes_per_1000', 'note'],
      rows,
      notes: all,
    };
  },
};

/** Densities of systems that tell both numbers themselves. */
function ownDensities(summary: Summary, workload: string, system: string): number[] {
  return summary.runs(workload, system).flatMap(({ facts: { log_bytes, instructions } }) => {
    if (log_bytes === undefined || instructions === undefined || instructions <= 0) return [];
    return [(1000 * log_bytes) / instructions];
  });
}
