// SPDX-License-Identifier: Apache-2.0
/** What made-up results of the harness are of: systems, workloads, and chance by a seed. */
import type { FigureFacts, SystemFacts, WorkloadFacts } from '../../bench/results.ts';

/** mulberry32 */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Box and Muller */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const EPOCHS = [1_000, 10_000, 100_000, 1_000_000];
const REMUS_HZ = [10, 20, 30, 40];

const stock = (name: string, title: string): SystemFacts => {
  return { name, title, baseline: name === 'plain' ? null : 'plain', verified: false };
};
const ours = (name: string, title = `ours, ${name}`): SystemFacts => {
  return { name, title, baseline: 'plain', verified: true };
};

export const SYSTEMS: readonly SystemFacts[] = [
  stock('plain', 'plain TCG'),
  stock('icount', 'stock -icount'),
  stock('rr-record', 'QEMU rr=record'),
  stock('rr-replay', 'QEMU rr=replay'),
  stock('colo', 'QEMU COLO'),
  ours('record', 'ours, recording'),
  ours('replay', 'ours, replaying'),
  ours('lockstep', 'ours, protected'),
  ...EPOCHS.map((length) => ours(`lockstep-epoch-${length}`)),
  ours('remus'),
  ...REMUS_HZ.map((hz) => ({ ...ours(`remus-${hz}hz`), variantOf: 'remus' })),
  ours('kemari-every'),
  ours('kemari'),
  { ...ours('kemari-io-log'), variantOf: 'kemari' },
  ours('quorum'),
];

const figure = (name: string, unit: string, better: 'more' | 'less'): FigureFacts => ({
  name,
  unit,
  better,
});

export const WORKLOADS: readonly WorkloadFacts[] = [
  {
    name: 'netperf',
    title: 'Netperf',
    figures: [
      figure('TCP_STREAM', 'Mbit/s', 'more'),
      figure('TCP_MAERTS', 'Mbit/s', 'more'),
      figure('TCP_RR', 'trans/s', 'more'),
      figure('UDP_RR', 'trans/s', 'more'),
    ],
  },
  {
    name: 'iozone',
    title: 'IOzone',
    figures: [
      figure('O_SYNC write', 'KB/s', 'more'),
      figure('buffered+fsync write', 'KB/s', 'more'),
      figure('read', 'KB/s', 'more'),
    ],
  },
  { name: 'cpu', title: 'CPU-bound', figures: [figure('MD5', 's', 'less')] },
  { name: 'compile', title: 'Compile (bzip2)', figures: [figure('make', 's', 'less')] },
  {
    name: 'redis',
    title: 'Redis',
    figures: [figure('SET', 'requests/s', 'more'), figure('GET', 'requests/s', 'more')],
  },
  {
    name: 'sql',
    title: 'PostgreSQL (pgbench)',
    figures: [figure('TPC-B', 'trans/s', 'more')],
  },
  { name: 'idle', title: 'Idle', figures: [figure('host CPU', '% of a core', 'less')] },
  { name: 'boot', title: 'Boot', figures: [figure('boot', 's', 'less')] },
];
