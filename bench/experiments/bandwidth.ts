// SPDX-License-Identifier: Apache-2.0
/**
 * Traffic and file I/O of a protected VM whose link to its backup is as slow as a wire
 * (tc on the loopback device of their namespace), beside no limit and plain TCG.
 */
import { type PairOptions, pair } from '../systems/pair.ts';
import { protectedPairs } from '../systems/registry.ts';
import type { System } from '../systems/system.ts';
import { plain } from '../systems/unpatched.ts';
import { iozone } from '../workloads/iozone.ts';
import { netperfWorkload } from '../workloads/netperf.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentKind, Row } from './experiment.ts';
import { eachOf, oneRun, rounded } from './measure.ts';

/** Mbit/s; null: as fast as this host. */
const LINKS = [null, 1000, 100];
const LOCKSTEP = 'lockstep';
/** Kemari's two ways of disks, which are compared by file I/O. */
const BY_DISK = ['kemari', 'kemari-io-log'];

interface Point {
  readonly workload: Workload;
  readonly system: System;
  /** Mbit/s; null: not limited, or no link. */
  readonly link: number | null;
}

/** Facts of a part of a run, or of all of it. */
const FACTS = {
  log_mbit_per_s: ['log_bytes_per_s', 8e-6],
  traffic_mbit_per_s: ['link_bytes_per_s', 8e-6],
  syncs_per_s: ['epochs_per_s', 1],
  sync_bytes: ['epoch_link_bytes_mean', 1],
  disk_sync_bytes: ['epoch_disk_bytes_mean', 1],
} as const satisfies Record<string, readonly [fact: string, factor: number]>;

export const bandwidth: ExperimentKind = {
  name: 'bandwidth',
  title: 'Protected, by the bandwidth of the link to the backup',
  columns: [
    'workload',
    'figure',
    'unit',
    'system',
    'link_mbit_per_s',
    'value',
    ...Object.keys(FACTS),
    'why_not',
  ],
  seconds: { quick: 150, full: 260 },
  async measure(options) {
    const name = ({ workload, system, link }: Point): string =>
      `${workload.name} on ${system.name}${link === null ? '' : ` at ${link} Mbit/s`}`;
    await eachOf(points(), options.interrupted, name, async (point) => {
      const { workload, system } = point;
      if (system.notYet !== undefined) {
        for (const figure of workload.figures) options.row(emptyRow(point, figure, system.notYet));
        return;
      }
      const { values, facts } = await oneRun(system, workload, options);
      for (const figure of workload.figures) {
        const measured = Object.values(FACTS).map(([fact, factor]) => {
          const value = facts[`${figure.name}: ${fact}`];
          return value === undefined ? null : rounded(value * factor);
        });
        const value = values[figure.name] ?? null;
        options.row([...placeOf(point, figure), value, ...measured, null]);
      }
    });
  },
};

type FigureOf = Workload['figures'][number];

function placeOf({ workload, system, link }: Point, { name, unit }: FigureOf): Row {
  return [workload.name, name, unit, system.name, link];
}

function emptyRow(point: Point, figure: FigureOf, why: string): Row {
  return [...placeOf(point, figure), null, ...Object.keys(FACTS).map(() => null), why];
}

function points(): Point[] {
  const known = new Map(protectedPairs().map((one) => [one.name ?? one.protocol, one]));
  const on = (workload: Workload, names: readonly string[]): Point[] => [
    { workload, system: plain(), link: null },
    ...names.flatMap((name) => {
      const options = known.get(name);
      return options === undefined ? [] : LINKS.map((link) => pointOn(workload, options, link));
    }),
  ];
  return [...on(netperfWorkload, [LOCKSTEP]), ...on(iozone, [LOCKSTEP, ...BY_DISK])];
}

function pointOn(workload: Workload, options: PairOptions, link: number | null): Point {
  return { workload, system: pair(link === null ? options : { ...options, link }), link };
}
