// SPDX-License-Identifier: Apache-2.0
/** Remus's figure: what a compilation costs, by how often the VM is checkpointed. */
import { type Bar, type BarGroup, barChart } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { heading, stacked, svgFile } from '../charts/svg.ts';
import { type TableRow, tableDrawing } from '../charts/table.ts';
import { cite, REMUS } from '../papers.ts';
import type { BenchResults, SystemFacts } from '../results.ts';
import type { Ratio } from '../stats.ts';
import { Summary } from '../summary.ts';
import {
  briefly,
  colourOfSystem,
  type Field,
  type Figure,
  gathered,
  PAPER_COLOUR,
  percent,
  two,
} from './figure.ts';

const AT = { workload: 'compile', figure: 'make' } as const;
/** Beside it, in the same round: a protocol that checkpoints nothing. */
const BESIDE = 'lockstep';

export const remus: Figure = {
  name: 'remus',
  title: 'A compilation, by how often the VM is checkpointed',
  source: `After the kernel build of ${cite(REMUS)}`,
  make(results) {
    const summary = new Summary(results);
    const rows: Field[][] = REMUS.compile.map(({ hz, longer }) => {
      return ['Remus 2008', hz, 1 + longer, null, null, ''];
    });
    const notes: (string | null)[] = [];
    const bar = (name: string, label: string, hz: number | null): Bar => {
      const made = ours(summary, name, label);
      rows.push([name, hz, made.bar.value, made.bar.low ?? null, made.bar.high ?? null, made.why]);
      notes.push(made.why === '' ? null : `${label}: ${made.why}.`);
      return made.bar;
    };
    const groups: BarGroup[] = REMUS.compile.map(({ hz, longer }) => ({
      title: `${hz} checkpoints a second`,
      bars: [
        {
          label: 'Remus 2008',
          colour: PAPER_COLOUR,
          value: 1 + longer,
          note: `${two(1 + longer)} (${percent(longer)})`,
        },
        bar(atHz(hz), 'here: remus', hz),
      ],
    }));
    groups.push({
      title: 'No checkpoints',
      bars: [bar(BESIDE, `here: ${titleOf(results, BESIDE)}`, null)],
    });
    const chart = barChart({
      axis: 'time over that without protection (1: nothing lost)',
      groups,
      reference: 1,
    });
    const all = [
      ...gathered(notes),
      'The paper builds a Linux kernel; here gcc compiles sources of bzip2, and both sides of the ' +
        'pair share the two cores of one host.',
    ];
    const drawing = stacked([chart, heading('What the epochs had'), epochs(summary)], 14);
    return {
      svg: svgFile(remus.title, remus.source, drawing, all),
      columns: ['system', 'hz', 'time_ratio', 'low', 'high', 'note'],
      rows,
      notes: all,
    };
  },
};

/** systems/registry.ts names them so. */
function atHz(hz: number): string {
  return `remus-${hz}hz`;
}

function titleOf({ systems }: BenchResults, name: string): string {
  return systems.find((system: SystemFacts) => system.name === name)?.title ?? name;
}

function ours(summary: Summary, name: string, label: string): { bar: Bar; why: string } {
  const cell = summary.cell(AT.workload, name, AT.figure);
  const colour = colourOfSystem(name);
  const ratio = cell?.ratio ?? null;
  if (ratio === null) {
    const why = cell?.why ?? `${AT.workload} on ${name} is not in these results`;
    return { bar: { label, colour, value: null, note: briefly(why) }, why };
  }
  const { low, high } = ratio;
  return { bar: { label, colour, value: ratio.ratio, low, high, note: noteOf(ratio) }, why: '' };
}

function noteOf({ ratio, low, high, noisy }: Ratio): string {
  const change = `${two(ratio)} (${percent(ratio - 1)})`;
  if (low === null || high === null) return `${change}, one round`;
  return `${change}, ${two(low)}–${two(high)}${noisy ? ' noisy' : ''}`;
}

/** Facts while it compiled. */
function epochs(summary: Summary) {
  const right = (title: string) => ({ title, align: 'right' as const, widthMax: 110 });
  const rows = REMUS.compile.map(({ hz }): TableRow => {
    const fact = (name: string, scale = 1): string => {
      const value = summary.fact(AT.workload, atHz(hz), name);
      return value === null ? 'not measured' : shortNumber(value / scale);
    };
    const during = `${AT.figure}: `;
    return {
      cells: [
        `${hz} Hz`,
        fact(`${during}epochs_per_s`),
        fact(`${during}cut_pages_mean`),
        fact(`${during}cut_pause_mean_ms`),
        fact('cut_pause_max_ms'),
        fact(`${during}link_bytes_per_s`, 1e6),
      ],
    };
  });
  return tableDrawing(
    [
      { title: 'asked for' },
      right('epochs a second'),
      right('pages of one, mean'),
      right('pause, mean, ms'),
      right('longest since power-on, ms'),
      right('link, MB/s'),
    ],
    rows,
  );
}
