// SPDX-License-Identifier: Apache-2.0
/** Every workload on every system: performance over the baseline's, with its interval. */
import { type Bar, barColumns } from '../charts/bars.ts';
import { svgFile } from '../charts/svg.ts';
import type { BenchResults, SystemFacts } from '../results.ts';
import { NOISY_WIDTH, REPEATS_OF_100 } from '../stats.ts';
import { Summary } from '../summary.ts';
import {
  absences,
  emptyCells,
  type Field,
  type Figure,
  isNowhere,
  type Made,
  performanceBar,
} from './figure.ts';

const TITLE = 'Every workload on every system';
const SOURCE = 'Measured here, all systems interleaved in one invocation';

export const overview: Figure = {
  name: 'overview',
  title: TITLE,
  source: SOURCE,
  make: (results) => drawOverview(results),
};

/** The figure, or that of some systems only: with the intervals that all results give. */
export function drawOverview(
  results: BenchResults,
  isDrawn: (system: SystemFacts) => boolean = () => true,
): Made {
  const summary = new Summary(results);
  const systems = results.systems.filter(
    (one) => one.baseline !== null && one.variantOf === undefined && isDrawn(one),
  );
  const nowhere = new Set(systems.filter((system) => isNowhere(summary, system)));
  const rows: (readonly Field[])[] = [];
  const groups = results.workloads.flatMap((workload) =>
    workload.figures.map((figure) => {
      const at = { workload: workload.name, figure: figure.name };
      const bars = systems.flatMap((system): Bar[] => {
        const { bar, row } = performanceBar(summary, at, system);
        rows.push(row);
        if (nowhere.has(system)) return [];
        return [bar];
      });
      const base = summary.cells.find(
        (cell) =>
          cell.workload === workload && cell.figure === figure && cell.system.baseline === null,
      );
      const value = base?.value?.median;
      const measured = value === undefined ? '' : `; 1 is ${Number(value.toPrecision(4))}`;
      const title = `${workload.title}: ${figure.name} (${figure.unit}${measured})`;
      return { title, bars };
    }),
  );
  const chart = barColumns(
    {
      axis: 'performance over the baseline (log)',
      groups,
      reference: 1,
      log: true,
      plotWidth: 230,
    },
    2,
  );
  const all = [
    ...absences(summary, [...nowhere]),
    ...emptyCells(
      summary,
      systems.filter((system) => !nowhere.has(system)),
    ),
    '1 is as fast as the baseline, 2 twice as fast. Whiskers and brackets: where the ratio is ' +
      `expected again, ${REPEATS_OF_100} times in 100. "noisy": that is wider than ${NOISY_WIDTH * 100} % of the ratio.`,
  ];
  return {
    svg: svgFile(TITLE, SOURCE, chart, all),
    columns: ['workload', 'figure', 'system', 'performance_ratio', 'low', 'high', 'note'],
    rows,
    notes: all,
  };
}
