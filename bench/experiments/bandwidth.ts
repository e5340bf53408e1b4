// SPDX-License-Identifier: Apache-2.0
/**
 * Traffic and file I/O of a protected VM whose link to its backup is as slow as a wire
 * (tc on the loopback device of their namespace), beside no limit and plain TCG.
 */
import { pair } from '../systems/pair.ts';
import type { System } from '../systems/system.ts';
import { plain } from '../systems/unpatched.ts';
import { iozone } from '../workloads/iozone.ts';
import { netperfWorkload } from '../workloads/netperf.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentKind } from './experiment.ts';
import { eachOf, oneRun, rounded } from './measure.ts';

/** Mbit/s; null: as fast as this host. */
const LINKS = [null, 1000, 100];
const PROTOCOL = 'lockstep';

interface Point {
  readonly workload: Workload;
  readonly system: System;
  /** Mbit/s; null: not limited, or no link. */
  readonly link: number | null;
}

export const bandwidth: ExperimentKind = {
  name: 'bandwidth',
  title: 'Protected, by the bandwidth of the link to the backup',
  columns: ['workload', 'figure', 'unit', 'system', 'link_mbit_per_s', 'value', 'log_mbit_per_s'],
  seconds: { quick: 80, full: 140 },
  async measure(options) {
    const points = [netperfWorkload, iozone].flatMap((workload): Point[] => [
      { workload, system: plain(), link: null },
      ...LINKS.map((link) => ({ workload, system: onLink(link), link })),
    ]);
    const name = ({ workload, system, link }: Point): string =>
      `${workload.name} on ${system.name}${link === null ? '' : ` at ${link} Mbit/s`}`;
    await eachOf(points, options.interrupted, name, async ({ workload, system, link }) => {
      const run = await oneRun(system, workload, options);
      const bytesPerS = run.facts.log_bytes_per_s;
      const logMbit = bytesPerS === undefined ? null : rounded((bytesPerS * 8) / 1e6);
      for (const { name: figure, unit } of workload.figures) {
        const value = run.values[figure] ?? null;
        options.row([workload.name, figure, unit, system.name, link, value, logMbit]);
      }
    });
  },
};

/** A pair whose link is shaped before the guest runs. */
function onLink(link: number | null): System {
  const system = pair({ protocol: PROTOCOL });
  if (link === null) return system;
  return {
    ...system,
    async start(dir, spec) {
      const vm = await system.start(dir, spec);
      try {
        vm.shapeLink?.(link);
        return vm;
      } catch (error) {
        await vm.close();
        throw error;
      }
    },
  };
}
