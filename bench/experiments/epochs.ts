// SPDX-License-Identifier: Apache-2.0
/**
 * What an epoch of a protected VM has to carry, by how long the guest runs between two cuts:
 * pages dirtied, how long it stands still, and how long until the backup has it (as Coleșa et
 * al. have it, whose guest compiles, too).
 */
import { pair } from '../systems/pair.ts';
import { everyMs } from '../systems/registry.ts';
import { compile } from '../workloads/compile.ts';
import { iozone } from '../workloads/iozone.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentKind, Row } from './experiment.ts';
import { eachOf, oneRun, rounded } from './measure.ts';

const PROTOCOL = 'remus';
const INTERVALS_MS = { quick: [25, 250], full: [25, 50, 100, 250, 500, 1000] } as const;
/** Each with the figure that is looked at. */
const WORKLOADS: readonly (readonly [Workload, string])[] = [
  [compile, 'make'],
  [iozone, 'buffered+fsync write'],
];

interface Point {
  readonly workload: Workload;
  readonly figure: string;
  readonly intervalMs: number;
}

export const epochs: ExperimentKind = {
  name: 'epochs',
  title: 'Epochs of a protected VM: pages dirtied, pause and copy, by run time between two cuts',
  columns: [
    'workload',
    'interval_ms',
    'run_ms',
    'epochs',
    'dirty_pages',
    'link_bytes',
    'pause_ms',
    'pause_max_ms',
    'copy_ms',
  ],
  seconds: { quick: 50, full: 170 },
  async measure(options) {
    const points = WORKLOADS.flatMap(([workload, figure]) =>
      INTERVALS_MS[options.scale].map((intervalMs): Point => ({ workload, figure, intervalMs })),
    );
    const name = ({ workload, intervalMs }: Point): string =>
      `${workload.name} every ${intervalMs} ms`;
    await eachOf(points, options.interrupted, name, async ({ workload, figure, intervalMs }) => {
      const system = pair({
        protocol: PROTOCOL,
        name: `${PROTOCOL}-${intervalMs}ms`,
        replication: everyMs(intervalMs),
      });
      const { facts } = await oneRun(system, workload, options);
      options.row(rowOf(workload.name, intervalMs, figure, facts));
    });
  },
};

/** @throws Error when no epoch ended while it was looked at */
export function rowOf(
  workload: string,
  intervalMs: number,
  figure: string,
  facts: Readonly<Record<string, number>>,
): Row {
  const during = (name: string, factor = 1): number | null => {
    const value = facts[`${figure}: ${name}`];
    return value === undefined ? null : rounded(value * factor);
  };
  const [count, perS] = [during('epochs'), during('epochs_per_s')];
  if (count === null || count === 0 || perS === null) {
    throw new Error('no epoch ended while it was looked at');
  }
  const pauseMs = during('cut_pause_mean_ms') ?? 0;
  return [
    workload,
    intervalMs,
    rounded(Math.max(0, 1000 / perS - pauseMs)),
    count,
    during('cut_pages_mean'),
    during('epoch_link_bytes_mean'),
    pauseMs,
    facts.cut_pause_max_ms ?? null,
    during('epoch_ack_mean_us', 1e-3),
  ];
}
