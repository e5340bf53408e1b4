// SPDX-License-Identifier: Apache-2.0
/**
 * What a checkpoint has to carry, by how long the guest ran since the last one: pages
 * dirtied in between, bytes, and how long the guest stands still (as Coleșa et al. have it
 * for checkpoints that a backup is given).
 */
import { join } from 'node:path';
import { keyOf } from '../../src/base/position.ts';
import {
  type CheckpointManifest,
  listCheckpoints,
  readManifest,
} from '../../src/checkpoint/manifest.ts';
import { record, recordingOf } from '../systems/record.ts';
import type { System } from '../systems/system.ts';
import { cpu } from '../workloads/cpu.ts';
import { iozone } from '../workloads/iozone.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentKind, Row } from './experiment.ts';
import { eachOf, meanOf, oneRun, rounded } from './measure.ts';
import { countPages } from './ram-pages.ts';

const PERIODS_MS = { quick: [500], full: [50, 100, 250, 500, 1000, 2000] } as const;

export interface Made {
  readonly manifest: Pick<CheckpointManifest, 'kind' | 'vtimeNs' | 'bytes' | 'pause_ns'>;
  readonly pages: number;
}

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
  seconds: { quick: 15, full: 120 },
  async measure(options) {
    const points = [cpu, iozone].flatMap((workload) =>
      PERIODS_MS[options.scale].map((periodMs): Point => ({ workload, periodMs })),
    );
    const name = ({ workload, periodMs }: Point): string => `${workload.name} every ${periodMs} ms`;
    await eachOf(points, options.interrupted, name, async ({ workload, periodMs }) => {
      const made: Made[] = [];
      await oneRun(withCheckpoints(periodMs, made), workload, options);
      options.row(rowOf(workload.name, periodMs, made));
    });
  },
};

/** @param found is given what the run has left */
function withCheckpoints(periodMs: number, found: Made[]): System {
  const system = record({ words: ['--checkpoint-every', `${periodMs}ms`] });
  return {
    ...system,
    // Its checkpoints are what is looked at; that recordings replay is shown elsewhere.
    verified: false,
    async harvest(dir) {
      const folder = join(recordingOf(dir), 'checkpoints');
      for (const point of listCheckpoints(folder)) {
        const at = join(folder, keyOf(point));
        const manifest = readManifest(at);
        found.push({ manifest, pages: countPages(join(at, 'ram'), manifest.format) });
      }
      return system.harvest(dir);
    },
  };
}

/** One row, of the incremental checkpoints. @throws Error when there are none */
export function rowOf(workload: string, periodMs: number, made: readonly Made[]): Row {
  const deltas = made.flatMap(({ manifest, pages }, at) => {
    const before = made[at - 1]?.manifest;
    if (before === undefined || manifest.kind !== 'incremental') return [];
    return [{ manifest, pages, runMs: Number(manifest.vtimeNs - before.vtimeNs) / 1e6 }];
  });
  if (deltas.length === 0) throw new Error('it made no incremental checkpoint');
  const pauses = deltas.map(({ manifest }) => manifest.pause_ns / 1e6);
  return [
    workload,
    periodMs,
    meanOf(deltas.map(({ runMs }) => runMs)),
    deltas.length,
    meanOf(deltas.map(({ pages }) => pages)),
    meanOf(deltas.map(({ manifest }) => manifest.bytes)),
    meanOf(pauses),
    rounded(Math.max(...pauses)),
  ];
}
