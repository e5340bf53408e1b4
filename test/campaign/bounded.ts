// SPDX-License-Identifier: Apache-2.0
/**
 * A flight recorder for an hour: a real VM under load, recorded with plain `--retain`.
 * Once a second: what its folder takes. At the end it is stopped as by Ctrl-C, and what
 * is left must replay, verified, from the checkpoint at which it begins.
 *
 *   npm run campaign:bounded -- [--minutes 60] [--load mixed|busy] [--svg FILE]
 *                               [--retain LIMITS] [--seed N] [--keep DIR]
 *
 * mixed: Netperf in all directions, IOzone, computing, typing, at random (bench/mixed-load.ts).
 * One JSON object on stdout; exit code 1 when it took more than the limit or is not verified.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { mixedSetup, mixedStep } from '../../bench/mixed-load.ts';
import { linesSvg } from '../../bench/svg.ts';
import { record } from '../../bench/systems/record.ts';
import { referenceVm } from '../../bench/workloads/guest.ts';
import { parseRetain } from '../../src/cli/arguments.ts';
import { Random } from '../../src/lab/random.ts';
import { RETAIN_DEFAULT } from '../../src/retain/limits.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { runJson } from '../lib/command.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    load: { type: 'string', default: 'mixed' },
    svg: { type: 'string' },
    retain: { type: 'string' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
if (!(minutes > 0) || !['mixed', 'busy'].includes(values.load)) {
  console.error('usage: --minutes N --load mixed|busy [--svg FILE] [--retain LIMITS] [--keep DIR]');
  process.exit(2);
}
const limit = parseRetain(values.retain ?? RETAIN_DEFAULT).bytes ?? Number.POSITIVE_INFINITY;
const SAMPLE_MS = 1000;
const TOLD_MS = 60_000;
const STOP_MS_MAX = 120_000;

interface Sample {
  readonly minute: number;
  /** As the files say, and as the file system has allocated. */
  readonly bytes: number;
  readonly allocated: number;
  readonly log: number;
  readonly checkpoints: number;
}

const dir = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-bounded-'));
const folder = join(dir, 'recording');
const samples: Sample[] = [];
const startedMs = performance.now();
let interrupted = false;
let problem = '';
process.on('SIGINT', () => {
  interrupted = true;
});

const retain = values.retain === undefined ? ['--retain'] : ['--retain', values.retain];
const vm = await record({ words: retain, typed: true }).start(
  dir,
  await referenceVm('us.run=shell'),
);
vm.ended.catch((error: unknown) => {
  problem ||= String(error);
});
try {
  await vm.said('guest# ');
  await load();
  vm.stop?.();
  const stopped = sleep(STOP_MS_MAX, 'late', { ref: false });
  if ((await Promise.race([vm.ended, stopped])) === 'late') throw new Error('it did not stop');
  sample(); // what is left
} catch (error) {
  problem ||= String(error);
}
await vm.close();

const end = problem === '' ? facts() : {};
const replayed = problem === '' ? await replay() : { verified: false };
if (values.svg !== undefined) writeFileSync(values.svg, picture());
const max = (of: (one: Sample) => number): number => Math.max(0, ...samples.map(of));
const over = Math.max(
  max(({ bytes }) => bytes),
  max(({ allocated }) => allocated),
);
console.log(
  JSON.stringify({
    date: new Date().toISOString(),
    minutes: Number((samples.at(-1)?.minute ?? 0).toFixed(2)),
    load: values.load,
    seed: Number(values.seed),
    limit_bytes: limit,
    max_bytes: max(({ bytes }) => bytes),
    max_allocated_bytes: max(({ allocated }) => allocated),
    mean_bytes: Math.round(samples.reduce((sum, { bytes }) => sum + bytes, 0) / samples.length),
    samples: samples.length,
    ...end,
    ...replayed,
    problem,
  }),
);
if (values.keep === undefined && problem === '' && replayed.verified) {
  rmSync(dir, { recursive: true, force: true });
} else console.error(`kept ${dir}`);
process.exitCode = problem === '' && over <= limit && replayed.verified ? 0 : 1;

async function load(): Promise<void> {
  const type = async (text: string): Promise<void> => vm.type?.(text);
  const random = new Random(Number(values.seed));
  let over = false;
  if (values.load === 'mixed') await mixedSetup(vm, type);
  else await type('md5sum /dev/zero &\n');
  const loading = (async () => {
    while (values.load === 'mixed' && !over) await mixedStep(vm, type, random);
  })();
  loading.catch((error: unknown) => {
    problem ||= String(error);
  });
  let told = TOLD_MS;
  for (const untilMs = performance.now() + minutes * 60_000; performance.now() < untilMs; ) {
    await sleep(SAMPLE_MS);
    sample();
    if (problem !== '') throw new Error(problem);
    if (interrupted) break;
    if (performance.now() - startedMs < told) continue;
    told += TOLD_MS;
    console.error(JSON.stringify(samples.at(-1)));
  }
  over = true;
  await loading;
}

function sample(): void {
  const log = taken(join(folder, 'log'));
  const checkpoints = taken(join(folder, 'checkpoints'));
  const { allocated } = taken(join(folder, 'console.log')); // its beginning is a hole
  samples.push({
    minute: (performance.now() - startedMs) / 60_000,
    bytes: log.bytes + checkpoints.bytes + allocated,
    allocated: log.allocated + checkpoints.allocated + allocated,
    log: log.bytes,
    checkpoints: checkpoints.bytes,
  });
}

/** Bytes as du(1) counts them; what vanishes while it counts is gone. */
function taken(path: string): { bytes: number; allocated: number } {
  try {
    const stats = statSync(path);
    const sum = { bytes: 0, allocated: stats.blocks * 512 };
    if (!stats.isDirectory()) return { ...sum, bytes: stats.size };
    for (const name of readdirSync(path)) {
      const { bytes, allocated } = taken(join(path, name));
      sum.bytes += bytes;
      sum.allocated += allocated;
    }
    return sum;
  } catch {
    return { bytes: 0, allocated: 0 };
  }
}

function facts(): Record<string, number> {
  const { checkpoints, checkpoints_failed, log_bytes, wall_s } = JSON.parse(
    readFileSync(join(folder, 'end.json'), 'utf8'),
  ) as Record<string, number>;
  const left = checkpointsOf(folder);
  const manifest = join(folder, 'checkpoints', left[0] ?? '', 'manifest.json');
  const { created_at } = JSON.parse(readFileSync(manifest, 'utf8')) as { created_at: string };
  return {
    wall_s: wall_s ?? 0,
    log_bytes_total: log_bytes ?? 0,
    checkpoints_made: checkpoints ?? 0,
    checkpoints_failed: checkpoints_failed ?? 0,
    checkpoints_deleted: (checkpoints ?? 0) - left.length,
    kept_s: Math.round((Date.now() - Date.parse(created_at)) / 1000),
  };
}

async function replay(): Promise<{ verified: boolean } & Record<string, unknown>> {
  console.error('replaying what is left');
  const words = ['replay', folder, '--verify'];
  const { code, json, stderr } = await runJson(words, { timeoutMs: minutes * 120_000 + 600_000 });
  if (code !== 0) problem ||= `replay: ${stderr}`;
  const { verified, started_at, wall_s } = json;
  return { verified: verified === true, started_at, replay_s: wall_s };
}

function picture(): string {
  const of = (value: (one: Sample) => number): [number, number][] =>
    samples.map((one) => [one.minute, value(one) / 1e6]);
  return linesSvg(`record ${retain.join(' ')}, ${values.load} load`, 'minutes', [
    {
      title: 'The recording takes',
      unit: 'MB',
      series: [
        { name: 'all', points: of(({ bytes }) => bytes) },
        { name: 'allocated', points: of(({ allocated }) => allocated) },
        { name: 'log', points: of(({ log }) => log) },
        { name: 'checkpoints', points: of(({ checkpoints }) => checkpoints) },
        ...(Number.isFinite(limit) ? [{ name: 'limit', points: of(() => limit) }] : []),
      ],
    },
  ]);
}
