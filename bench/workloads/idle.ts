// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that sleeps: what it costs the host all the same, all of the system's processes
 * together, and what it logs.
 */
import { cpuUsed, secondsSince } from '../run/processes.ts';
import { emptyGuest } from './guest.ts';
import { ready, type Workload } from './workload.ts';

const SECONDS = { quick: 2, full: 4 } as const;

export const idle: Workload = {
  name: 'idle',
  title: 'Idle',
  figures: [{ name: 'host CPU', unit: '% of a core', better: 'less' }],
  // The time is the guest's; a replay does not sleep.
  served: true,
  seconds: { quick: 4, full: 6 },
  prepare: (scale) => emptyGuest(`us.run=idle us.args=${SECONDS[scale]}`),
  async measure(vm) {
    await ready(vm);
    const fromMs = await vm.said('bench: begin idle');
    const before = cpuUsed(vm.pids());
    const toMs = await vm.said('bench: end idle');
    const used = secondsSince(before, cpuUsed(vm.pids()));
    return { values: { 'host CPU': (100 * 1000 * used) / (toMs - fromMs) } };
  },
};
