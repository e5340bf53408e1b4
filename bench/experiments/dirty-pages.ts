// SPDX-License-Identifier: Apache-2.0
/**
 * What a checkpoint has to carry, by how long the guest ran since the last one: pages
 * dirtied in between, bytes, and how long the guest stands still (as Coleșa et al. have it
 * for checkpoints that a backup is given).
 */
import { join } from 'node:path';
import {
  type CheckpointManifest,
  listCheckpoints,
  readManifest,
} from '../../src/replay/checkpoints.ts';
import { record, recordingOf } from '../systems/record.ts';
import type { System } from '../systems/system.ts';
import { cpu } from '../workloads/cpu.ts';
import { iozone } from '../workloads/iozone.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentKind } from './experiment.ts';
import { eachOf, meanOf, oneRun, rounded } from './measure.ts';

const PERIODS_MS = { quick: [500], full: [50, 100, 250, 500, 1000, 2000] } as const;
const PAGE_BYTES = 4096;

interface Point {
  readonly workload: Workload;
  readonly periodMs: number;
}

export const dirtyPages: ExperimentKind = {
  name: 'dirty-pages',
  title: 'Checkpoints: pages dirtied and pause, by run time between two of them',
  columns: [
    'workload',
    'period_ms',
    'run_ms',
    'checkpoints',
    'dirty_pages',
    'bytes',
    'pause_ms',
    'pause_max_ms',
  ],
  seconds: { quick: 30, full: 260 },
  async measure(options) {
    const points = [cpu, iozone].flatMap((workload) =>
      PERIODS_MS[options.scale].map((periodMs): Point => ({ workload, periodMs })),
    );
    const name = ({ workload, periodMs }: Point): string => `${workload.name} every ${periodMs} ms`;
    await eachOf(points, options.interrupted, name, async ({ workload, periodMs }) => {
      const manifests: CheckpointManifest[] = [];
      await oneRun(withCheckpoints(periodMs, manifests), workload, options);
      options.row(rowOf(workload.name, periodMs, manifests));
    });
  },
};

/** @param found is given what the run has left */
function withCheckpoints(periodMs: number, found: CheckpointManifest[]): System {
  const system = record({ words: ['--checkpoint-every', `${periodMs}ms`] });
  return {
    ...system,
    async harvest(dir) {
      const folder = join(recordingOf(dir), 'checkpoints');
      for (const icount of listCheckpoints(folder)) {
        found.push(readManifest(join(folder, String(icount))));
      }
      return system.harvest(dir);
    },
  };
}

/** Of the incremental ones. @throws Error when there are none */
export function rowOf(
  workload: string,
  periodMs: number,
  manifests: readonly CheckpointManifest[],
) {
  const ramBytes = ({ files }: CheckpointManifest): number =>
    files.find(({ name }) => name === 'ram')?.bytes ?? 0;
  const deltas = manifests.flatMap((one, at) => {
    const before = manifests[at - 1];
    if (before === undefined || one.kind !== 'incremental') return [];
    return [{ one, runMs: Number(one.vtime_ns - before.vtime_ns) / 1e6 }];
  });
  if (deltas.length === 0) throw new Error('it made no incremental checkpoint');
  const pauses = deltas.map(({ one }) => one.pause_ns / 1e6);
  const pages = meanOf(deltas.map(({ one }) => ramBytes(one) / PAGE_BYTES));
  return [
    workload,
    periodMs,
    meanOf(deltas.map(({ runMs }) => runMs)),
    deltas.length,
    pages === null ? null : Math.round(pages),
    meanOf(deltas.map(({ one }) => one.bytes)),
    meanOf(pauses),
    rounded(Math.max(...pauses)),
  ];
}
