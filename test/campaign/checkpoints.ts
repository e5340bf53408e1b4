// SPDX-License-Identifier: Apache-2.0
/**
 * Records a VM under mixed load with many checkpoints, replays it with --verify from
 * power-on and then from each of `count` checkpoints to the end: every digest of the log
 * on the way, every output, the final digest and the disks have to be the same.
 *
 *   npm run campaign:checkpoints -- [--count 100] [--vcpus 1,4] [--every 200ms] [--jobs 2]
 *     [--seed N]
 *
 * One JSON object on stdout; exit code 1 on any difference, whose recording is kept.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  checkpointFacts,
  checkpointsOf,
  type FromCheckpoint,
  spread,
  verifyFrom,
  verifyWhole,
} from '../lib/checkpoints.ts';
import { recordMixed } from '../lib/mixed-recording.ts';
import { referenceGuest } from '../lib/workloads.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    vcpus: { type: 'string', default: '1,4' },
    every: { type: 'string', default: '200ms' },
    jobs: { type: 'string', default: '2' },
    seed: { type: 'string' },
  },
});
const count = Number(values.count);
const jobs = Number(values.jobs);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const shapes = values.vcpus.split(',').map(Number);
if (![count, jobs, ...shapes].every((n) => Number.isInteger(n) && n > 0)) {
  console.error('usage: --count N --vcpus N,… --every PERIOD --jobs N --seed N');
  process.exit(2);
}
/** A host on which checkpoints come more slowly than asked for. */
const RECORD_MS_MAX = 300_000;

const kept = mkdtempSync(join(tmpdir(), 'understudy-campaign-checkpoints-'));
const guest = await referenceGuest();
const results: object[] = [];
const problems: string[] = [];
for (const vcpus of shapes) {
  const before = problems.length;
  const dir = join(kept, `vcpus-${vcpus}`);
  try {
    results.push(await one(vcpus, dir));
  } catch (error) {
    problems.push(`${vcpus} vCPUs: ${String(error)}`);
  }
  if (problems.length === before) rmSync(dir, { recursive: true, force: true });
  else console.error(`kept ${dir}`);
}
for (const problem of problems) console.error(problem);
console.log(JSON.stringify({ seed, count, every: values.every, results, problems }));
if (problems.length === 0) rmSync(kept, { recursive: true, force: true });
process.exitCode = problems.length === 0 ? 0 : 1;

async function one(vcpus: number, dir: string): Promise<object> {
  say(`${vcpus} vCPUs, seed ${seed}: recording until there are ${count} checkpoints`);
  const untilMs = performance.now() + RECORD_MS_MAX;
  const recording = await recordMixed({
    dir,
    guest,
    seed,
    vcpus,
    checkpointEvery: values.every,
    enough: (out) => there(out).length >= count || performance.now() > untilMs,
    timeoutMs: RECORD_MS_MAX + 300_000,
  });
  const all = checkpointsOf(recording);
  if (all.length < count) problems.push(`${vcpus} vCPUs: only ${all.length} checkpoints`);
  const { icount, wall_s, log_bytes } = endOf(recording);
  say(`${vcpus} vCPUs: ${all.length} checkpoints in ${wall_s} s; replaying from power-on`);
  const whole = await verifyWhole(recording);
  if (whole.failure !== null) problems.push(`${vcpus} vCPUs, power-on: ${whole.failure}`);
  const from = await fromEach(vcpus, recording, spread(all, count), BigInt(icount));
  const failed = from.filter(({ ok }) => !ok);
  return {
    vcpus,
    checkpoints: all.length,
    replayed: from.length,
    exact: from.length - failed.length,
    icount,
    record_s: wall_s,
    log_bytes,
    power_on_replay_s: whole.wallS,
    ...checkpointFacts(recording),
  };
}

async function fromEach(
  vcpus: number,
  recording: string,
  icounts: readonly string[],
  end: bigint,
): Promise<FromCheckpoint[]> {
  const cost = (icount: string): number => Number(end - BigInt(icount));
  const total = icounts.reduce((sum, icount) => sum + cost(icount), 0);
  const fromMs = performance.now();
  const waiting = [...icounts];
  const done: FromCheckpoint[] = [];
  let spent = 0;
  const worker = async (): Promise<void> => {
    for (let icount = waiting.shift(); icount !== undefined; icount = waiting.shift()) {
      const result = await verifyFrom(recording, icount);
      done.push(result);
      spent += cost(icount);
      if (result.failure !== null) {
        problems.push(
          `${vcpus} vCPUs, from ${icount}: ${result.failure}; again with ` +
            `replay ${recording} --from ${icount} --verify`,
        );
      }
      const leftS = ((performance.now() - fromMs) * (total - spent)) / Math.max(spent, 1) / 1000;
      say(
        `${vcpus} vCPUs: ${done.length}/${icounts.length} from ${icount} ` +
          `${result.ok ? 'exact' : 'FAILED'} in ${result.wallS} s; ${leftS.toFixed(0)} s left`,
      );
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return done;
}

function there(recording: string): string[] {
  return existsSync(join(recording, 'checkpoints')) ? checkpointsOf(recording) : [];
}

function endOf(recording: string): { icount: number; wall_s: number; log_bytes: number } {
  return JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8'));
}

function say(text: string): void {
  console.error(text);
}
