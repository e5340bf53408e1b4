// SPDX-License-Identifier: Apache-2.0
/** What the VM does and what is measured, always by the host's clock and from outside. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestPaths } from '#scripts/paths.mjs';
import { extractProgram } from '../test/lib/initrd.ts';
import type { RunningVm, VmSpec } from './systems.ts';

export interface Workload {
  readonly name: string;
  readonly spec: VmSpec;
  readonly unit: string;
  /** @returns figure by name: one VM may give several */
  measure(vm: RunningVm, startedMs: number): Promise<Readonly<Record<string, number>>>;
}

/** Of a figure: rates are better high, times and latencies low. */
export function isRate(figure: string): boolean {
  return /^TCP_\w+$/.test(figure);
}

/** MiB through md5sum: with the boot about 10 G instructions. */
const CPU_MIB = 640;
const NETPERF_S = 4;
const LAG_SAMPLE_MS = 50;

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'cpu',
    spec: { words: `us.run=md5 us.args=${CPU_MIB}` },
    unit: 's',
    async measure(vm, startedMs) {
      await vm.said('ready md5');
      const lagsMs = sampleLag(vm);
      await vm.said('understudy-guest: done md5 0');
      const lag = await lagsMs();
      await vm.ended;
      return { cpu: (performance.now() - startedMs) / 1000, ...lag };
    },
  },
  {
    name: 'netperf',
    spec: { words: 'us.run=netserver' },
    unit: 'Mbit/s, transactions/s',
    async measure(vm) {
      await vm.said('ready netserver');
      await sleep(500);
      const figures: Record<string, number> = {};
      for (const test of ['TCP_STREAM', 'TCP_MAERTS']) {
        [figures[test] = Number.NaN] = await netperf(vm, test, ['THROUGHPUT']);
      }
      const asked = ['THROUGHPUT', 'P50_LATENCY', 'P99_LATENCY'];
      const [rate = Number.NaN, p50 = Number.NaN, p99 = Number.NaN] = await netperf(
        vm,
        'TCP_RR',
        asked,
      );
      return { ...figures, TCP_RR: rate, 'TCP_RR p50 µs': p50, 'TCP_RR p99 µs': p99 };
    },
  },
  iozone('iozone-osync', 'us.run=iozone-osync us.args=16m'),
  iozone('iozone-fsync', 'us.run=iozone-fsync us.args=256m'),
];

/** Asks for a protected VM's lag all the time. @returns how to stop and what it was */
function sampleLag(vm: RunningVm): () => Promise<Record<string, number>> {
  const samples: number[] = [];
  let stopped = false;
  const sampling = (async () => {
    while (!stopped && vm.lagMs !== undefined) {
      const ms = await vm.lagMs().catch(() => null); // it ends under our hands
      if (ms !== null) samples.push(ms);
      await sleep(LAG_SAMPLE_MS);
    }
  })();
  return async () => {
    stopped = true;
    await sampling;
    samples.sort((a, b) => a - b);
    const at = (share: number) => samples[Math.ceil(samples.length * share) - 1] ?? Number.NaN;
    return samples.length === 0 ? {} : { 'lag p50 ms': at(0.5), 'lag p99 ms': at(0.99) };
  };
}

function iozone(name: string, words: string): Workload {
  return {
    name,
    spec: { words },
    unit: 's',
    async measure(vm) {
      const fromMs = await vm.said(`ready ${name}`);
      const toMs = await vm.said(`done ${name} 0`);
      return { [name]: (toMs - fromMs) / 1000 };
    },
  };
}

let client: string | null = null;

/** Debian's netperf, from the guest's own initrd: host and guest have the same. */
function netperfProgram(): string {
  if (client !== null) return client;
  const guest = guestPaths();
  if (guest === undefined) throw new Error('the reference guest is not built: npm run bootstrap');
  const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  client = join(dir, 'netperf');
  extractProgram(guest.initrd, 'netperf', client);
  execFileSync('chmod', ['+x', client]);
  return client;
}

/** @returns what was asked for, by netperf's own names of its outputs */
export async function netperf(
  vm: RunningVm,
  test: string,
  asked: readonly string[],
): Promise<number[]> {
  const words = ['-H', vm.guestAddress, '-t', test, '-l', String(NETPERF_S), '-P', '0'];
  words.push('--', '-o', asked.join(','));
  const [file = '', ...prefix] = vm.prefix;
  const child = spawn(file, [...prefix, netperfProgram(), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (bytes) => {
    said += bytes;
  });
  child.stderr.on('data', (bytes) => {
    said += bytes;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  // The last line: a timer of netperf's that pops once more is told before it ("catcher:").
  const figures = (said.trim().split('\n').at(-1) ?? '').split(',').map(Number);
  if (code !== 0 || figures.length !== asked.length || !figures.every(Number.isFinite)) {
    throw new Error(`netperf ${test}: ${code}: ${said}`);
  }
  return figures;
}
