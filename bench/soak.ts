// SPDX-License-Identifier: Apache-2.0
/**
 * A protected pair for a long time: what it logs, what memory it takes, how far
 * the backup is behind, how right the guest's clock is; at the end the guest powers
 * off and both sides must have the same digest.
 *
 *   npm run bench:soak -- [--phases idle:10,busy:10,mixed:40] [--seed N] [--svg FILE]
 *
 * Minutes of each phase, on one VM. busy: the guest computes. mixed: Netperf in
 * all directions, IOzone, computing, and someone at the console, at random.
 * One JSON object on stdout; exit code 1 when something is not as it should be.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ask } from '../src/daemon/client.ts';
import type { DaemonStatus } from '../src/daemon/facts.ts';
import { Random } from '../src/lab/random.ts';
import { readLogEnd } from '../src/log/log-end.ts';
import { baselineMs, GuestClock, offsetMs } from './guest-clock.ts';
import { mixedSetup, mixedStep } from './mixed-load.ts';
import { linesSvg, type Series } from './svg.ts';
import { pair } from './systems/pair.ts';
import { referenceVm } from './workloads/guest.ts';

const { values } = parseArgs({
  options: {
    phases: { type: 'string', default: 'idle:10,busy:10,mixed:40' },
    seed: { type: 'string', default: '1' },
    svg: { type: 'string' },
  },
});
const SAMPLE_MS = 1000;
const CLOCK_INTERVAL_S = 0.5;
const BASELINE_SAMPLES = 60;
/** A guest that boots gets no steps of its clock (exitlog/exits/clock.c, CALIBRATING_NS). */
const BOOT_MS = 12_000;
const phases = values.phases.split(',').map((text) => {
  const [name = '', minutes = ''] = text.split(':');
  return { name, minutes: Number(minutes) };
});
if (!phases.every(({ name, minutes }) => name in { idle: 0, busy: 0, mixed: 0 } && minutes > 0)) {
  console.error('usage: --phases idle:MINUTES,busy:MINUTES,mixed:MINUTES [--seed N] [--svg FILE]');
  process.exit(2);
}

interface Phase {
  readonly phase: string;
  readonly minutes: number;
  readonly log_kbit_per_s: number;
  readonly lag_ms: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly clock: {
    readonly answers: number;
    readonly worst_ms: number;
    readonly ahead_ms: number;
    readonly behind_ms: number;
  };
  readonly rss_mib: Readonly<Record<string, number>>;
}

const dir = mkdtempSync(join(tmpdir(), 'understudy-soak-'));
const random = new Random(Number(values.seed));
process.env.UNDERSTUDY_STATE_DIR = join(dir, 'state'); // where ask() looks
const protectedPair = pair({ protocol: 'lockstep', unverified: true });
const vm = await protectedPair.start(dir, await referenceVm('us.run=shell'));
const rss = new Map<string, [number, number][]>();
const clockPoints: [number, number][] = [];
const lagPoints: [number, number][] = [];
const startedMs = performance.now();
const minutesNow = (): number => (performance.now() - startedMs) / 60_000;
const results: Phase[] = [];
let baseline: number | null = null;
let problem = '';
try {
  await vm.said('guest# ');
  await mixedSetup(vm, type);
  await sleep(BOOT_MS);
  for (const { name, minutes } of phases) {
    const result = await phase(name, minutes);
    results.push(result);
    console.error(JSON.stringify(result));
  }
  await type('exit\n');
  await vm.ended;
} catch (error) {
  problem = String(error);
}
await vm.close();
const ends = problem === '' ? await Promise.all(['primary', 'backup'].map(endOf)) : [];
const equal = ends.length === 2 && ends[0] !== null && ends[0] === ends[1];
if (values.svg !== undefined) writeFileSync(values.svg, picture());
const growth = Object.fromEntries([...rss].map(([name, points]) => [name, growthOf(points)]));
console.log(
  JSON.stringify({
    date: new Date().toISOString(),
    seed: Number(values.seed),
    phases: results,
    rss_growth_mib_per_hour: growth,
    digests_equal: equal,
    digest: ends[0] ?? null,
    problem,
  }),
);
rmSync(dir, { recursive: true, force: true });
process.exitCode = equal ? 0 : 1;

async function type(text: string): Promise<void> {
  const answer = await ask({ name: 'bench', role: 'primary' }, { cmd: 'console-input', text });
  if (!answer.ok) throw new Error(`the console: ${answer.error}`);
}

async function status(role: 'primary' | 'backup'): Promise<DaemonStatus> {
  return (await ask({ name: 'bench', role }, { cmd: 'status' })).status as DaemonStatus;
}

async function phase(name: string, minutes: number): Promise<Phase> {
  const before = await status('primary');
  const fromMs = performance.now();
  const untilMs = fromMs + minutes * 60_000;
  const clock = new GuestClock(vm.prefix, vm.guestAddress, CLOCK_INTERVAL_S);
  const lags: number[] = [];
  if (name === 'busy') await type('md5sum /dev/zero & busy=$!\n');
  let over = false;
  const load = (async () => {
    while (name === 'mixed' && !over) await mixedStep(vm, type, random);
  })();
  load.catch((error) => {
    problem ||= String(error);
  });
  while (performance.now() < untilMs && problem === '') {
    await sleep(SAMPLE_MS);
    const now = await status('primary');
    if (now.state !== 'protected') throw new Error(`it is ${now.state}: ${now.reason}`);
    if (now.lag_ms !== null) {
      lags.push(now.lag_ms);
      lagPoints.push([minutesNow(), now.lag_ms]);
    }
    await sampleRss();
  }
  over = true;
  await load;
  if (problem !== '') throw new Error(problem);
  if (name === 'busy') await type('kill $busy; wait $busy\n');
  const after = await status('primary');
  await clock.stop();
  baseline ??= baselineMs(clock.samples.slice(0, BASELINE_SAMPLES));
  const offsets: number[] = [];
  for (const sample of clock.samples) {
    const offset = offsetMs(sample, baseline);
    offsets.push(offset);
    clockPoints.push([(sample.read_ms - startedMs) / 60_000, offset]);
  }
  const bits = (Number(after.log_bytes_total) - Number(before.log_bytes_total)) * 8;
  return {
    phase: name,
    minutes,
    log_kbit_per_s: round(bits / (performance.now() - fromMs)),
    lag_ms: { p50: at(lags, 0.5), p99: at(lags, 0.99), max: at(lags, 1) },
    clock: clockOf(offsets),
    rss_mib: Object.fromEntries([...rss].map(([who, points]) => [who, points.at(-1)?.[1] ?? 0])),
  };
}

function clockOf(offsets: readonly number[]): Phase['clock'] {
  const ahead_ms = round(Math.max(0, ...offsets));
  const behind_ms = round(Math.max(0, ...offsets.map((offset) => -offset)));
  return { answers: offsets.length, worst_ms: Math.max(ahead_ms, behind_ms), ahead_ms, behind_ms };
}

async function sampleRss(): Promise<void> {
  for (const role of ['primary', 'backup'] as const) {
    const { pid, qemu_pid } = await status(role);
    for (const [who, id] of [
      [`${role} daemon`, pid],
      [`${role} QEMU`, qemu_pid],
    ] as const) {
      const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1];
      rss.set(who, [...(rss.get(who) ?? []), [minutesNow(), Number(kib) / 1024]]);
    }
  }
}

/** Least squares over the second half: in the first one, caches fill. */
function growthOf(points: readonly (readonly [number, number])[]): number {
  const half = points.slice(points.length >> 1);
  const mean = (of: (point: readonly [number, number]) => number): number =>
    half.reduce((sum, point) => sum + of(point), 0) / half.length;
  const x = mean((point) => point[0]);
  const y = mean((point) => point[1]);
  const slope =
    half.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) /
    half.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return round(slope * 60);
}

/** The final digest in a side's own log, or null. */
async function endOf(role: string): Promise<string | null> {
  const logs = join(dir, 'state', `bench-${role}`, 'log');
  const [id = ''] = readdirSync(logs);
  return (await readLogEnd(join(logs, id)))?.digest ?? null;
}

function picture(): string {
  const panels: { title: string; unit: string; series: Series[] }[] = [
    {
      title: 'Resident memory',
      unit: 'MiB',
      series: [...rss].map(([name, points]) => ({ name, points })),
    },
    { title: 'Backup behind', unit: 'ms', series: [{ name: 'lag', points: lagPoints }] },
    {
      title: 'Guest clock − host clock',
      unit: 'ms',
      series: [{ name: 'offset', points: clockPoints }],
    },
  ];
  return linesSvg('A protected pair over time', 'minutes', panels);
}

function at(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return round(sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
