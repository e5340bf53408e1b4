// SPDX-License-Identifier: Apache-2.0
/** What is at the cursor, in words and numbers. Text only: nothing here is parsed as HTML. */
import { HELD_UNKNOWN } from '../format.ts';
import type { Data } from './data.ts';
import { placeAt, rowAt } from './data.ts';
import type { View } from './panels.ts';
import { rateOf } from './panels.ts';
import { consoleText, count, duration, position, short, span } from './scale.ts';

const CONSOLE_BYTES = 4096;
const CONSOLE_LINES = 14;
const MARKERS_SHOWN = 6;

type Row = readonly [name: string, value: string];

export interface Readout {
  readonly rows: readonly Row[];
  /** The last lines printed before the cursor. */
  readonly console: string;
}

/** @param x on the view's axis; @param reach how near a marker must be, on the axis */
export function readoutAt(data: Data, view: View, x: number, reach: number): Readout {
  const { grid } = view;
  const bin = Math.min(grid.count - 1, Math.max(0, Math.floor((x - grid.from) / grid.width)));
  const place = placeAt(data, grid.axis, x);
  const at = (values: Float64Array): number => values[bin] ?? 0;
  const host = new Date(Number(BigInt(data.head.hostEpochNs) / 1_000_000n) + place.hostNs / 1e6);
  const rows: Row[] = [
    ['guest time', position('vtimeNs', place.vtimeNs, 1e3)],
    [
      'host time',
      `${position('hostNs', place.hostNs, 1e5)}, ${host.toISOString().slice(11, 23)} UTC`,
    ],
    ['instructions', position('icount', place.icount)],
    ['bin', `${span(grid.axis, grid.width)} wide`],
  ];
  for (const [kind, values] of view.byKind) {
    if (at(values) === 0) continue;
    const bytes = bytesOf(view, kind, bin);
    rows.push([data.head.kindNames[kind] ?? `kind ${kind}`, `${count(at(values))}${bytes}`]);
  }
  const { factor, unit } = rateOf(grid);
  rows.push([
    'log',
    `${short(at(view.logBytes), 'B')}: ${short(at(view.logBytes) * factor, 'B')} ${unit}`,
  ]);
  const guestNs = at(view.guestNs);
  const idle = guestNs > 0 ? ` (${((100 * at(view.idleNs)) / guestNs).toFixed(1)} %)` : '';
  rows.push(['idle', `${duration(at(view.idleNs))}${idle}`]);
  if (at(view.stepNs) > 0) {
    rows.push(['time skipped', `${duration(at(view.stepNs))} by a clock record`]);
  }
  const held = at(view.held);
  rows.push(['packets held', held === HELD_UNKNOWN ? 'not known' : count(held)]);
  const behindNs = at(view.behindNs);
  if (data.head.columns.includes('behindNs')) {
    const [name, size] = behindNs < 0 ? ['ahead of host', -behindNs] : ['behind host', behindNs];
    rows.push([name, duration(size)]);
  }
  rows.push(...markersNear(data, view, x, reach));
  return { rows, console: consoleUntil(data, data.edges[grid.axis], x) };
}

function bytesOf(view: View, kind: number, bin: number): string {
  const values = { 1: view.netIn, 7: view.netOut, 8: view.charOut }[kind];
  return values === undefined ? '' : `, ${short(values[bin] ?? 0, 'B')}`;
}

function markersNear(data: Data, { grid }: View, x: number, reach: number): Row[] {
  const near = data.head.markers.filter((marker) => Math.abs(marker[grid.axis] - x) <= reach);
  const rows = near
    .slice(0, MARKERS_SHOWN)
    .map(({ what, icount, text }): Row => [what, `${text} at icount ${count(icount)}`]);
  for (const gap of data.head.gaps) {
    if (x < gap.from[grid.axis] - reach || x > gap.to[grid.axis] + reach) continue;
    rows.push(['not readable', gap.reason]);
  }
  if (near.length > rows.length) rows.push(['', `and ${near.length - MARKERS_SHOWN} more here`]);
  return rows;
}

function consoleUntil(data: Data, edges: Float64Array, x: number): string {
  const row = rowAt(edges, x);
  // What a row counts has happened by its end.
  const ended = (edges[row + 1] ?? 0) <= x ? row : row - 1;
  const { firstByte } = data.head.console;
  const printed = data.printed[ended] ?? 0;
  const end = printed - firstByte;
  if (end <= 0) return printed > 0 ? '(the page has only the newest console text)' : '';
  const bytes = data.consoleBytes.subarray(Math.max(0, end - CONSOLE_BYTES), end);
  return consoleText(bytes).split('\n').slice(-CONSOLE_LINES).join('\n');
}
