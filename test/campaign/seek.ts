// SPDX-License-Identifier: Apache-2.0
/**
 * How long it takes to get to any position of a recording with a checkpoint every 10 s:
 * `replay --until ICOUNT`, from the start of the process to its end, at 0, at the end,
 * just before each full checkpoint (a chain of 30 to load and 10 s to replay), and at
 * random.
 *
 *   npm run campaign:seek -- [--minutes 10] [--every 10s] [--positions 40] [--seed N]
 *     [--seconds-max 15] [--recording DIR: used as it is, or recorded there and kept]
 *
 * The guest has mixed work, and stretches in which it computes and writes to memory; its
 * log takes some GB of disk. One JSON object on stdout; exit code 1 when a position took
 * longer than --seconds-max, or was not reached.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '../../src/lab/random.ts';
import { checkpointFacts, checkpointsOf, manifestOf } from '../lib/checkpoints.ts';
import { runJson } from '../lib/command.ts';
import { recordMixed } from '../lib/mixed-recording.ts';
import { referenceGuest } from '../lib/workloads.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    every: { type: 'string', default: '10s' },
    positions: { type: 'string', default: '40' },
    seed: { type: 'string' },
    'seconds-max': { type: 'string', default: '15' },
    recording: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const positions = Number(values.positions);
const secondsMax = Number(values['seconds-max']);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const { recording: given } = values;
const usable = [minutes, positions, secondsMax].every((n) => n > 0);
if (!usable || (given !== undefined && basename(given) !== 'recording')) {
  console.error(
    'usage: --minutes N --every PERIOD --positions N --seed N --seconds-max N ' +
      '--recording SOME/FOLDER/recording',
  );
  process.exit(2);
}
/** How long the guest computes, once in a few pieces of mixed work. */
const STRETCH_S = 25;
const REPLAY_MS_MAX = 600_000;

interface Seek {
  readonly what: string;
  readonly icount: string;
  readonly seconds: number;
  readonly started_at: string | null;
  /** Seconds of these that QEMU ran; before, all is verified and disks are made. */
  readonly qemu_s: number;
}

const dir = given === undefined ? mkdtempSync(join(tmpdir(), 'understudy-seek-')) : dirname(given);
const recording = join(dir, 'recording');
const seeks: Seek[] = [];
let problem = '';
try {
  if (!existsSync(join(recording, 'end.json'))) await record();
  const targets = choose();
  const fromMs = performance.now();
  for (const [n, { what, icount }] of targets.entries()) {
    const seek = await reach(what, icount);
    seeks.push(seek);
    const leftS = (((performance.now() - fromMs) / (n + 1)) * (targets.length - n - 1)) / 1000;
    console.error(
      `${n + 1}/${targets.length} ${what} ${icount}: ${seek.seconds} s, from ` +
        `${seek.started_at ?? 'power-on'}; ${leftS.toFixed(0)} s left`,
    );
  }
  const slow = seeks.filter(({ seconds }) => seconds > secondsMax);
  if (slow.length > 0) problem = `${slow.length} took longer than ${secondsMax} s`;
} catch (error) {
  problem = String(error);
}
const sorted = seeks.map(({ seconds }) => seconds).sort((a, b) => a - b);
console.log(
  JSON.stringify({
    seed,
    minutes,
    every: values.every,
    positions: seeks.length,
    worst_s: sorted.at(-1) ?? null,
    p50_s: sorted[sorted.length >> 1] ?? null,
    ...(existsSync(join(recording, 'end.json')) ? checkpointFacts(recording) : {}),
    seeks,
    problem,
  }),
);
if (given === undefined) rmSync(dir, { recursive: true, force: true });
process.exitCode = problem === '' ? 0 : 1;

async function record(): Promise<void> {
  const startedMs = performance.now();
  const untilMs = startedMs + minutes * 60_000;
  let told = 0;
  await recordMixed({
    dir,
    guest: await referenceGuest(),
    seed,
    vcpus: 1,
    checkpointEvery: values.every,
    enough: () => {
      const now = performance.now();
      if (now - told > 30_000) {
        told = now;
        console.error(`recording, ${Math.max(0, (untilMs - now) / 1000).toFixed(0)} s left`);
      }
      return now > untilMs;
    },
    timeoutMs: minutes * 60_000 + 300_000,
    stretchS: Math.min(STRETCH_S, minutes * 15),
  });
}

function choose(): { what: string; icount: bigint }[] {
  const { icount } = JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8')) as {
    icount: number;
  };
  const end = BigInt(icount);
  const targets = [
    { what: 'begin', icount: 0n },
    { what: 'end', icount: end },
  ];
  for (const at of checkpointsOf(recording).slice(1)) {
    if (manifestOf(recording, at).kind !== 'full') continue;
    targets.push({ what: 'before a full checkpoint', icount: BigInt(at) - 1n });
  }
  const random = new Random(seed);
  while (targets.length < positions) {
    const share = BigInt(random.below(2 ** 30));
    targets.push({ what: 'random', icount: (end * share) >> 30n });
  }
  return targets;
}

async function reach(what: string, icount: bigint): Promise<Seek> {
  const fromMs = performance.now();
  const { code, json, stderr } = await runJson(['replay', recording, '--until', String(icount)], {
    timeoutMs: REPLAY_MS_MAX,
  });
  const seconds = Number(((performance.now() - fromMs) / 1000).toFixed(2));
  if (code !== 0) throw new Error(`to ${icount} (exit ${code}): ${stderr}`);
  if (BigInt(String(json.icount)) !== icount) {
    throw new Error(`to ${icount}: it stopped at ${String(json.icount)}`);
  }
  const started = json.started_at === null ? null : String(json.started_at);
  return {
    what,
    icount: String(icount),
    seconds,
    started_at: started,
    qemu_s: Number(json.wall_s),
  };
}
