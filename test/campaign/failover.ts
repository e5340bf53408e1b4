// SPDX-License-Identifier: Apache-2.0
/**
 * Kills one host of a protected VM, or cuts the link between the two, N times at
 * random moments under the demo's load: each time on a fresh pair.
 *
 *   npm run campaign:failover -- --count 100 [--fault primary|backup|link] [--protocol NAME]
 *        [--vcpus N] [--accel NAME] [--lanes N] [--seed N] [--seconds-before S] [--seconds-after S]
 *        [--keep DIR] [--etcd] [--restrict primary|backup [--features no-fma|no-avx2|none]]
 *
 * --accel: default tcg; of a protocol by checkpoint with more than one vCPU tcg-multi, a thread for
 * each. --lanes: so many pairs at a time; what is measured in ms is then that of a busy host.
 *
 * The link has TLS. --etcd: the arbiter is a real etcd of three members, over TLS too, each on a
 * host of its own; otherwise a folder.
 *
 * --restrict: that side is on a host whose CPU has not these features, and the guest
 * computes (test/guest/fp.c) beside the load.
 *
 * A run is flawless where no request that was answered is missing on the survivor's disk, none was
 * answered wrongly or not at all, the client kept its one connection, exactly one side went on, and the survivor's
 * disk is sound. A failed run's folder is kept, and the command that plays it again is printed.
 * Ends with a table on stderr and one JSON object on stdout; exit code 1 when one
 * run was not flawless.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { type DemoJson, type Played, playDemo, playEtcd, playTwoCpus } from '../lib/demo.ts';
import type { EtcdDemo } from '../lib/etcd-demo.ts';
import { HOST_CPUS, type HostCpu } from '../lib/host-cpu.ts';
import type { TwoCpus } from '../lib/two-cpus-demo.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    fault: { type: 'string', default: 'primary' },
    protocol: { type: 'string', default: 'lockstep' },
    accel: { type: 'string' },
    vcpus: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    'seconds-before': { type: 'string', default: '1' },
    'seconds-after': { type: 'string', default: '1' },
    keep: { type: 'string' },
    etcd: { type: 'boolean', default: false },
    restrict: { type: 'string' },
    features: { type: 'string', default: 'none' },
  },
});
const count = Number(values.count);
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000);
const { fault } = values;
const { restrict, features, protocol, vcpus, etcd } = values;
const isCut = /^(remus|kemari|kemari-every)$/.test(protocol);
const accel = values.accel ?? (isCut && Number(vcpus) > 1 ? 'tcg-multi' : 'tcg');
const lanes = Number(values.lanes);
const isRestriction =
  restrict === undefined || (/^(primary|backup)$/.test(restrict) && features in HOST_CPUS);
const isWhole = (value: number): boolean => Number.isInteger(value) && value >= 1;
if (!isWhole(count) || !isWhole(lanes) || !isRestriction || (etcd && restrict !== undefined)) {
  const other = `--restrict primary|backup --features ${Object.keys(HOST_CPUS).join('|')}`;
  console.error(
    `usage: --count N --lanes N --fault primary|backup|link|… --seed N [--etcd | ${other}]`,
  );
  process.exit(2);
}

interface Run {
  readonly seed: number;
  readonly flawless: boolean;
  readonly json: DemoJson | null;
  readonly problem: string;
}

const kept = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-failover-'));
mkdirSync(kept, { recursive: true });
console.error(`${count} × ${fault}; seeds ${firstSeed} … ${firstSeed + count - 1}`);
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true; // the demo has it too, and cleans up
});
const runs: Run[] = [];
const startedMs = performance.now();
let begun = 0;
await Promise.all(Array.from({ length: lanes }, lane));
summarise();

async function lane(): Promise<void> {
  while (begun < count && !interrupted) {
    begun += 1;
    runs.push(await once(firstSeed + begun - 1, begun));
  }
}

async function once(seed: number, index: number): Promise<Run> {
  const dir = join(kept, `${fault}-${seed}`);
  const { again, played } = playing(seed, dir);
  const { code, json, stderr } = await played;
  const flawless = code === 0;
  const facts =
    json === null
      ? ''
      : `at ${json.fault_after_ms} ms: stall ${json.stall_ms} detect ${json.detect_ms} ` +
        `live ${json.golive_ms} (drain ${json.drain_ms}, lag ${json.lag_before_ms}) ms, ${json.requests} requests, lost ${json.lost}`;
  console.error(`${index}/${count} ${flawless ? 'ok    ' : 'FAILED'} seed ${seed} ${facts}`);
  const problem = flawless
    ? ''
    : (json?.problem ?? stderr.trim().split('\n').slice(-5).join(' | '));
  if (flawless) rmSync(dir, { recursive: true, force: true });
  else {
    writeFileSync(join(dir, 'narration.txt'), stderr);
    console.error(`  ${problem}\n  kept ${dir}; again: ${again}`);
  }
  return { seed, flawless, json, problem };
}

/** A run, and the command that plays it again. */
function playing(seed: number, keep: string): { again: string; played: Promise<Played> } {
  const [before, after] = [values['seconds-before'], values['seconds-after']];
  const options = {
    fault: fault as EtcdDemo['fault'],
    seed,
    secondsBefore: Number(before),
    secondsAfter: Number(after),
    keep,
  };
  if (restrict !== undefined) {
    const cpus = { restrict: restrict as TwoCpus['restrict'], features: features as HostCpu };
    const json = JSON.stringify({ ...options, ...cpus });
    const again = `npx tsx test/lib/two-cpus-demo.ts '${json}'`;
    return { again, played: playTwoCpus({ ...options, ...cpus }) };
  }
  if (etcd) {
    const vm = { protocol, accel, vcpus: Number(vcpus) } as Pick<
      EtcdDemo,
      'protocol' | 'accel' | 'vcpus'
    >;
    const json = JSON.stringify({ ...options, ...vm });
    const again = `unshare --net npx tsx test/lib/etcd-demo.ts '${json}'`;
    return { again, played: playEtcd({ ...options, ...vm }) };
  }
  const words = ['--fault', fault, '--seed', String(seed), '--keep', keep];
  words.push('--protocol', protocol, '--accel', accel, '--vcpus', vcpus);
  words.push('--seconds-before', before, '--seconds-after', after);
  return { again: `bin/understudy demo ${words.join(' ')}`, played: playDemo(words) };
}

/** Percentiles by nearest rank, and the extremes. */
function spread(value: (json: DemoJson) => number | null) {
  const known = runs
    .flatMap(({ json }) => (json === null ? [] : (value(json) ?? [])))
    .sort((a, b) => a - b);
  const at = (share: number): number | null =>
    known[Math.min(known.length - 1, Math.max(0, Math.ceil(known.length * share) - 1))] ?? null;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: known.at(-1) ?? null };
}

/** From the detection on. */
function takeoverMs({ detect_ms, golive_ms }: DemoJson): number | null {
  if (detect_ms === null || golive_ms === null) return null;
  return Math.round((golive_ms - detect_ms) * 10) / 10;
}

function summarise(): void {
  const total = (value: (json: DemoJson) => number): number =>
    runs.reduce((sum, { json }) => sum + (json === null ? 0 : value(json)), 0);
  const spreads = {
    stall_ms: spread((json) => json.stall_ms),
    detect_ms: spread((json) => json.detect_ms),
    golive_ms: spread((json) => json.golive_ms),
    takeover_ms: spread(takeoverMs),
    drain_ms: spread((json) => json.drain_ms),
    stall_before_ms: spread((json) => json.stall_before_ms),
    lag_before_ms: spread((json) => json.lag_before_ms),
  };
  const table = textTable({
    head: ['', 'p50', 'p90', 'p99', 'max'],
  });
  for (const [name, { p50, p90, p99, max }] of Object.entries(spreads)) {
    table.push([name, ...[p50, p90, p99, max].map((value) => String(value ?? '-'))]);
  }
  console.error(table.toString());
  const failures = runs.filter(({ flawless }) => !flawless);
  const summary = {
    fault,
    protocol,
    vcpus: Number(vcpus),
    accel,
    arbiter: etcd ? 'etcd' : 'dir',
    lanes,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    ...(restrict === undefined ? {} : { restrict, features }),
    seed: firstSeed,
    runs: runs.length,
    survived: runs.filter(({ json }) => json?.survived === true).length,
    flawless: runs.length - failures.length,
    requests: total((json) => json.requests),
    lost: total((json) => json.lost),
    corrupted: total((json) => json.corrupted),
    duplicated: total((json) => json.duplicated),
    reconnects: total((json) => json.reconnects),
    disk_ok: runs.filter(({ json }) => json?.disk_ok === true).length,
    went_on: {
      primary: runs.filter(({ json }) => json?.survivor === 'primary').length,
      backup: runs.filter(({ json }) => json?.survivor === 'backup').length,
    },
    ...spreads,
    failures: failures.map(({ seed, problem }) => ({ seed, problem })),
  };
  console.error(
    `${protocol}, ${vcpus} vCPUs (${accel}), ${fault}: ${summary.flawless} of ${summary.runs} flawless; ` +
      `${summary.requests} requests, lost ${summary.lost}, corrupted ${summary.corrupted}; reconnects ` +
      `${summary.reconnects}; disks sound ${summary.disk_ok}; exactly one went on ${summary.survived} times ` +
      `(primary ${summary.went_on.primary}, backup ${summary.went_on.backup}); live p50 ` +
      `${summary.takeover_ms.p50 ?? '-'} ms after detection; ${summary.seconds} s`,
  );
  console.log(JSON.stringify(summary));
  if (failures.length > 0 || runs.length < count) process.exitCode = 1;
  else if (values.keep === undefined) rmSync(kept, { recursive: true, force: true });
}
