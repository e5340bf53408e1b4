// SPDX-License-Identifier: Apache-2.0
/** Netperf from the host to the guest over tap: bulk both ways, and round trips. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningVm } from '../systems/system.ts';
import { emptyGuest } from './guest.ts';
import { netperf } from './netperf-client.ts';
import { dismiss, type Measured, type Part, ready, type Workload } from './workload.ts';

const SECONDS = { quick: 1, full: 2 } as const;
const SETTLE_MS = 500;
const TESTS = ['TCP_STREAM', 'TCP_MAERTS', 'TCP_RR', 'UDP_RR'] as const;

export const netperfWorkload: Workload = {
  name: 'netperf',
  title: 'Netperf',
  figures: [
    { name: 'TCP_STREAM', unit: 'Mbit/s', better: 'more' },
    { name: 'TCP_MAERTS', unit: 'Mbit/s', better: 'more' },
    { name: 'TCP_RR', unit: 'trans/s', better: 'more' },
    { name: 'UDP_RR', unit: 'trans/s', better: 'more' },
  ],
  served: true,
  seconds: { quick: 6, full: 9 },
  prepare: () => emptyGuest('us.run=network'),
  async measure(vm, scale) {
    await ready(vm);
    await sleep(SETTLE_MS);
    const measured = await allTests(vm, SECONDS[scale]);
    await dismiss(vm);
    return measured;
  },
};

async function allTests(vm: RunningVm, seconds: number): Promise<Measured> {
  const values: Record<string, number> = {};
  const facts: Record<string, number> = {};
  const parts: Record<string, Part> = {};
  for (const test of TESTS) {
    const latencies = test.endsWith('_RR') ? ['P50_LATENCY', 'P99_LATENCY'] : [];
    const fromMs = performance.now();
    const [rate, p50, p99] = await netperf(vm, test, ['THROUGHPUT', ...latencies], seconds);
    parts[test] = { fromMs, toMs: performance.now() };
    values[test] = rate ?? Number.NaN;
    if (p50 !== undefined) facts[`${test.toLowerCase()}_p50_us`] = p50;
    if (p99 !== undefined) facts[`${test.toLowerCase()}_p99_us`] = p99;
  }
  return { values, facts, parts };
}
