// SPDX-License-Identifier: Apache-2.0
/** What the panels show, as numbers for each bin. No DOM here. */
import type { Axis } from '../format.ts';
import { binLengths, binPeaks, binSums, type Grid } from './bins.ts';
import type { Data } from './data.ts';
import { duration, short, span } from './scale.ts';

/** Ordinals as src/log/kinds.ts has them. */
const NET_OUT = 7;
const CHAR_OUT = 8;
const DIGEST = 9;
const END = 10;
const CHECKPOINT = 12;
/** Not taken in: put out, or said of the state. */
const OUTPUTS: readonly number[] = [NET_OUT, CHAR_OUT, DIGEST, END, CHECKPOINT];

export interface Series {
  readonly name: string;
  /** Class of its colour and pattern in style.css and draw.ts. */
  readonly look: string;
  readonly values: Float64Array;
}

export interface Panel {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
  /** Stacked bars, or one line with the area below it. */
  readonly shape: 'bars' | 'area';
  readonly heightPx: number;
  /** Greatest value of the y axis; else what the values need. */
  readonly max?: number;
  readonly format: (value: number) => string;
}

/** Kinds that the guest took in, in the order in which they are stacked. */
export function inputKinds(data: Data): number[] {
  return data.kinds.filter((kind) => !OUTPUTS.includes(kind));
}

/** Everything that is drawn and that the readout tells, for one grid. */
export interface View {
  readonly grid: Grid;
  readonly panels: readonly Panel[];
  /** Records of each kind in each bin. */
  readonly byKind: ReadonlyMap<number, Float64Array>;
  readonly logBytes: Float64Array;
  /** Guest time in each bin, ns, and how much of it was idle or skipped. */
  readonly guestNs: Float64Array;
  readonly idleNs: Float64Array;
  readonly stepNs: Float64Array;
  readonly held: Float64Array;
  readonly behindNs: Float64Array;
  readonly netIn: Float64Array;
  readonly netOut: Float64Array;
  readonly charOut: Float64Array;
}

/** @param hidden kinds that are not drawn */
export function viewOf(data: Data, grid: Grid, hidden: ReadonlySet<number>): View {
  const byKind = new Map(data.kinds.map((kind) => [kind, binSums(data, `kind:${kind}`, grid)]));
  const sums = {
    logBytes: binSums(data, 'logBytes', grid),
    guestNs: binLengths(data, 'vtimeNs', grid),
    idleNs: binSums(data, 'idleNs', grid, true),
    stepNs: binSums(data, 'stepNs', grid, true),
    held: binPeaks(data, 'held', grid),
    behindNs: binPeaks(data, 'behindNs', grid),
    netIn: binSums(data, 'netInBytes', grid),
    netOut: binSums(data, 'netOutBytes', grid),
    charOut: binSums(data, 'charOutBytes', grid),
  };
  const all = { byKind, ...sums };
  const panels = [...exitPanels(data, grid, all, hidden), ...costPanels(data, grid, all)];
  return { grid, panels, ...all };
}

type Sums = Omit<View, 'grid' | 'panels'>;

const plain = (value: number): string => short(value);

/** What the guest took in and put out. */
function exitPanels(data: Data, grid: Grid, sums: Sums, hidden: ReadonlySet<number>): Panel[] {
  const { byKind, charOut } = sums;
  const bin = span(grid.axis, grid.width);
  const none = new Float64Array(grid.count);
  return [
    {
      id: 'exits',
      title: 'Exits the guest took in',
      unit: `records in ${bin}`,
      shape: 'bars',
      heightPx: 150,
      format: plain,
      series: inputKinds(data)
        .filter((kind) => !hidden.has(kind))
        .map((kind) => ({
          name: data.head.kindNames[kind] ?? `kind ${kind}`,
          look: `kind-${kind}`,
          values: byKind.get(kind) ?? none,
        })),
    },
    {
      id: 'packets',
      title: 'Packets out',
      unit: `NET_OUT records in ${bin}`,
      shape: 'bars',
      heightPx: 52,
      format: plain,
      series: [
        {
          name: 'NET_OUT',
          look: `kind-${NET_OUT}`,
          values: byKind.get(NET_OUT) ?? none,
        },
      ],
    },
    {
      id: 'console',
      title: 'Console out',
      unit: `bytes in ${bin}`,
      shape: 'bars',
      heightPx: 52,
      format: plain,
      series: [{ name: 'CHAR_OUT', look: `kind-${CHAR_OUT}`, values: charOut }],
    },
  ];
}

/** What it cost, and where the guest slept or was held up. */
function costPanels(data: Data, grid: Grid, sums: Sums): Panel[] {
  const rate = rateOf(grid);
  return [
    {
      id: 'log',
      title: 'Log rate',
      unit: `bytes ${rate.unit}`,
      shape: 'area',
      heightPx: 76,
      format: (value) => short(value, 'B'),
      series: [{ name: 'log', look: 'log', values: sums.logBytes.map((v) => v * rate.factor) }],
    },
    {
      id: 'idle',
      title: 'Idle',
      unit: '% of guest time without instructions: asleep, hatched: skipped by a clock record',
      shape: 'bars',
      heightPx: 52,
      max: 100,
      format: (value) => `${Math.round(value)} %`,
      series: [
        { name: 'asleep', look: 'idle', values: percent(sums.idleNs, sums.guestNs) },
        { name: 'skipped', look: 'kind-11', values: percent(sums.stepNs, sums.guestNs) },
      ],
    },
    {
      id: 'held',
      title: 'Lag: packets held back',
      unit: 'most at a seal of a batch: in the log, not yet released',
      shape: 'area',
      heightPx: 52,
      format: plain,
      series: [{ name: 'held', look: 'held', values: sums.held.map((v) => Math.max(0, v)) }],
    },
    {
      id: 'behind',
      title: 'Lag: guest time behind host time',
      unit: data.head.columns.includes('behindNs')
        ? 'most at a seal of a batch'
        : 'not known: this log has no CLOCK origin',
      shape: 'area',
      heightPx: 52,
      format: (value) => (value === 0 ? '0' : duration(value)),
      series: [
        { name: 'behind', look: 'behind', values: sums.behindNs.map((v) => Math.max(0, v)) },
      ],
    },
  ];
}

/** Per second of the axis, or per million instructions. */
export function rateOf({ axis, width }: Pick<Grid, 'axis' | 'width'>): {
  factor: number;
  unit: string;
} {
  const units: Record<Axis, string> = {
    vtimeNs: 'per s of guest time',
    hostNs: 'per s of host time',
    icount: 'per million instructions',
  };
  return { factor: (axis === 'icount' ? 1e6 : 1e9) / width, unit: units[axis] };
}

function percent(part: Float64Array, whole: Float64Array): Float64Array {
  return part.map((value, bin) => {
    const all = whole[bin] ?? 0;
    return all > 0 ? Math.min(100, (100 * value) / all) : 0;
  });
}
