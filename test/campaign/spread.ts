// SPDX-License-Identifier: Apache-2.0
/**
 * How far runs of one CPU-bound guest with a NIC lie apart. Each boot draws other addresses,
 * and they decide which pages share an entry of the soft TLB.
 *
 *   npm run campaign:spread -- [--recordings 20] [--pairs 20] [--workload cpu]
 *        [--limit 1.25] [--qemu FILE,FILE]
 *
 * `wall`: seconds of the guest's work by the host's clock; `cpu`: of all processes in that time,
 * which means more on a host that does other things too. FILES take turns, so that builds
 * can be compared. One JSON object on stdout. Exit code 1 when the slowest of any took longer
 * than `--limit` medians, by wall-clock.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpuUsed, secondsSince } from '../../bench/run/processes.ts';
import { median } from '../../bench/stats.ts';
import { pair } from '../../bench/systems/pair.ts';
import { record } from '../../bench/systems/record.ts';
import type { System } from '../../bench/systems/system.ts';
import { WORKLOADS } from '../../bench/workloads/registry.ts';

const { values } = parseArgs({
  options: {
    recordings: { type: 'string', default: '20' },
    pairs: { type: 'string', default: '20' },
    workload: { type: 'string', default: 'cpu' },
    limit: { type: 'string', default: '1.25' },
    qemu: { type: 'string', default: process.env.UNDERSTUDY_QEMU ?? '' },
  },
});
const workload = WORKLOADS.find(({ name }) => name === values.workload);
if (workload === undefined || workload.served) {
  console.error(`no such workload that ends by itself: ${values.workload}`);
  process.exit(2);
}

interface Sample {
  readonly wall: number;
  readonly cpu: number;
}

const spec = await workload.prepare('full');

/** One run; the boot counts for CPU time only if it is what is measured. */
async function once(system: System): Promise<Sample> {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-spread-'));
  try {
    const folder = join(dir, system.name);
    mkdirSync(folder);
    const vm = await system.start(folder, spec);
    try {
      if (workload?.name !== 'boot') await vm.said('bench: begin ');
      const before = cpuUsed(vm.pids());
      const measured = await workload?.measure(vm, 'full');
      const cpu = secondsSince(before, cpuUsed(vm.pids()));
      await vm.ended;
      const [wall = Number.NaN] = Object.values(measured?.values ?? {});
      return { wall, cpu };
    } finally {
      await vm.close();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function summary(samples: readonly Sample[]): Record<string, unknown> {
  const of = (key: keyof Sample) => {
    const list = samples.map((sample) => Math.round(sample[key] * 1000) / 1000);
    const slowest = Math.max(...list);
    const ratio = Math.round((slowest / median(list)) * 1000) / 1000;
    return { median: median(list), slowest, ratio, values: list };
  };
  return { wall: of('wall'), cpu: of('cpu') };
}

const kinds: readonly [System, number][] = [
  [record(), Number(values.recordings)],
  [pair({ protocol: 'lockstep', unverified: true }), Number(values.pairs)],
];
const result: Record<string, unknown> = { workload: workload.name };
let slow = false;
for (const [system, count] of kinds) {
  const builds = new Map<string, Sample[]>(values.qemu.split(',').map((file) => [file, []]));
  for (let at = 0; at < count; at += 1) {
    for (const [file, samples] of builds) {
      if (file !== '') process.env.UNDERSTUDY_QEMU = file;
      const sample = await once(system);
      samples.push(sample);
      console.error(
        `${system.name} ${at + 1} of ${count} ${file}: ${sample.wall.toFixed(2)} s, ` +
          `${sample.cpu.toFixed(2)} s of CPU`,
      );
    }
  }
  for (const [file, samples] of builds) {
    if (samples.length === 0) continue;
    const walls = samples.map(({ wall }) => wall);
    slow ||= Math.max(...walls) > Number(values.limit) * median(walls);
    result[[system.name, file].filter(Boolean).join(' ')] = summary(samples);
  }
}
console.log(JSON.stringify(result));
if (slow) process.exitCode = 1;
