// SPDX-License-Identifier: Apache-2.0
/** How long a client waits when the primary dies: the distribution over many kills. */
import { GAP_MS_MIN } from '../../src/lab/client-events.ts';
import { type LineSeries, lineChart } from '../charts/lines.ts';
import { shortNumber } from '../charts/scale.ts';
import { stacked, svgFile } from '../charts/svg.ts';
import { tableDrawing } from '../charts/table.ts';
import { COLESA, cite, REMUS, RRC } from '../papers.ts';
import { quantile } from '../stats.ts';
import { Summary } from '../summary.ts';
import { missingFrom, type NamedRow, numberOf, rowsOf } from './experiment-rows.ts';
import type { Field, Figure } from './figure.ts';

/** What results say that are older than the column. */
const ONLY = 'lockstep';

/** `leastMs`: what is shorter is 0 in the rows. */
const PARTS = [
  { column: 'stall_ms', name: 'the client waits (stall)', leastMs: GAP_MS_MIN },
  { column: 'golive_ms', name: 'the backup is live, since the kill', leastMs: 0 },
  { column: 'detect_ms', name: 'the loss is detected, since the kill', leastMs: 0 },
] as const;
/** Detection is the same under all protocols. */
const DRAWN = PARTS.filter(({ column }) => column !== 'detect_ms');

export const failover: Figure = {
  name: 'failover',
  title: 'Time of a failover: kills of the primary under load',
  source: `Beside ${REMUS.citation}; ${COLESA.citation}; ${RRC.citation}`,
  make(results) {
    const experiment = new Summary(results).experiment('failover');
    const rows = rowsOf(experiment);
    const protocols = [...new Set(rows.map(protocolOf))];
    const by = (protocol: string): NamedRow[] => rows.filter((row) => protocolOf(row) === protocol);
    const lost = rows.flatMap((row) => numberOf(row, 'lost') ?? []);
    const notes = [
      ...missingFrom('failover', experiment),
      ...(lost.length === 0
        ? []
        : [`Requests lost in ${lost.length} kills: ${lost.reduce((sum, each) => sum + each, 0)}.`]),
      ...protocols.flatMap((one) => shortWaits(one, valuesOf(by(one), 'stall_ms'))),
      'Both hosts are on one machine here, so no wire and no switch has a part in it.',
      cite(REMUS),
      cite(COLESA),
      cite(RRC),
    ];
    const chart = lineChart({
      title: `Share of the kills that took no longer (${rows.length} kills)`,
      xAxis: 'ms since the kill (log)',
      yAxis: 'share of the kills',
      x: 'log',
      y: 'linear',
      yMax: 1,
      series: protocols.flatMap((one) =>
        DRAWN.map((part) => ({
          ...distribution(by(one), part),
          name: `${one}: ${part.name}`,
        })),
      ),
      bands: [
        {
          name: 'Remus: about 1 s; Coleșa et al. and RRC: below 1 s',
          axis: 'x',
          from: REMUS.failover_ms_about,
          to: REMUS.failover_ms_about,
        },
      ],
      note: 'not measured, see below',
    });
    const table = tableDrawing(
      [
        { title: 'ms', widthMax: 260 },
        ...['p50', 'p90', 'p99', 'max'].map((title) => ({ title, align: 'right' as const })),
      ],
      (protocols.length === 0 ? [ONLY] : protocols).flatMap((one) =>
        PARTS.map(({ column, name, leastMs }) => {
          const values = valuesOf(by(one), column);
          const shares = [0.5, 0.9, 0.99, 1].map((p) =>
            values.length === 0 ? 'not measured' : shown(quantile(values, p), leastMs),
          );
          return { cells: [`${one}: ${name}`, ...shares] };
        }),
      ),
    );
    return {
      svg: svgFile(failover.title, failover.source, stacked([chart, table]), notes),
      columns: experiment?.columns ?? ['stall_ms'],
      rows: (experiment?.rows ?? []) as readonly (readonly Field[])[],
      notes,
    };
  },
};

function protocolOf({ protocol }: NamedRow): string {
  return typeof protocol === 'string' ? protocol : ONLY;
}

function valuesOf(rows: readonly NamedRow[], column: string): number[] {
  return rows.flatMap((row) => numberOf(row, column) ?? []).sort((a, b) => a - b);
}

/** Distribution over all kills; waits too short to be told are at the curve's left end. */
function distribution(
  rows: readonly NamedRow[],
  { column, name, leastMs }: (typeof PARTS)[number],
): LineSeries {
  const values = valuesOf(rows, column);
  return {
    name,
    step: true,
    points: values
      .map((ms, at) => ({ x: Math.max(ms, leastMs), y: (at + 1) / values.length }))
      .filter(({ x }) => x > 0),
  };
}

function shown(ms: number, leastMs: number): string {
  return ms < leastMs ? `< ${leastMs}` : shortNumber(ms);
}

function shortWaits(protocol: string, stallsMs: readonly number[]): string[] {
  const short = stallsMs.filter((ms) => ms < GAP_MS_MIN).length;
  if (short === 0) return [];
  const which =
    `under ${protocol}, in ${short} of ${stallsMs.length} kills the client waited less, drawn ` +
    'at that';
  return [`A wait counts from ${GAP_MS_MIN} ms on: ${which}.`];
}
