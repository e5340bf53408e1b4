// SPDX-License-Identifier: Apache-2.0
/**
 * Kills one host of a protected VM, or cuts the link between the two, N times at
 * random moments under the demo's load: each time on a fresh pair.
 *
 *   npm run campaign:failover -- --count 100 [--fault primary|backup|link]
 *        [--protocol NAME] [--accel NAME] [--vcpus N] [--seed N] [--seconds-before S] [--seconds-after S] [--keep DIR]
 *        [--restrict primary|backup [--features no-fma|no-avx2|none]]
 *
 * --restrict: that side is on a host whose CPU has not these features, and the guest
 * computes (test/guest/fp.c) beside the load.
 *
 * A failed run's folder is kept, and the command that plays it again is printed.
 * Ends with a table on stderr and one JSON object on stdout; exit code 1 when one
 * run was not flawless.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { type DemoJson, playDemo, playTwoCpus } from '../lib/demo.ts';
import { HOST_CPUS, type HostCpu } from '../lib/host-cpu.ts';
import type { TwoCpus } from '../lib/two-cpus-demo.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    fault: { type: 'string', default: 'primary' },
    protocol: { type: 'string', default: 'lockstep' },
    accel: { type: 'string', default: 'tcg' },
    vcpus: { type: 'string', default: '1' },
    seed: { type: 'string' },
    'seconds-before': { type: 'string', default: '1' },
    'seconds-after': { type: 'string', default: '1' },
    keep: { type: 'string' },
    restrict: { type: 'string' },
    features: { type: 'string', default: 'none' },
  },
});
const count = Number(values.count);
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000);
const { fault } = values;
const { restrict, features } = values;
const isRestriction =
  restrict === undefined || (/^(primary|backup)$/.test(restrict) && features in HOST_CPUS);
if (!Number.isInteger(count) || count < 1 || !isRestriction) {
  const other = `--restrict primary|backup --features ${Object.keys(HOST_CPUS).join('|')}`;
  console.error(`usage: --count N --fault primary|backup|link|… --seed N ${other}`);
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
for (let index = 0; index < count && !interrupted; index += 1) {
  runs.push(await once(firstSeed + index, index + 1));
}
summarise();

async function once(seed: number, index: number): Promise<Run> {
  const dir = join(kept, `${fault}-${seed}`);
  const words = ['--fault', fault, '--seed', String(seed), '--keep', dir];
  words.push('--protocol', values.protocol, '--accel', values.accel, '--vcpus', values.vcpus);
  words.push('--seconds-before', values['seconds-before']);
  words.push('--seconds-after', values['seconds-after']);
  const twoCpus = {
    restrict: restrict as TwoCpus['restrict'],
    features: features as HostCpu,
    fault: fault as TwoCpus['fault'],
    seed,
    secondsBefore: Number(values['seconds-before']),
    secondsAfter: Number(values['seconds-after']),
    keep: dir,
  };
  const again =
    restrict === undefined
      ? `bin/understudy demo ${words.join(' ')}`
      : `npx tsx test/lib/two-cpus-demo.ts '${JSON.stringify(twoCpus)}'`;
  const { code, json, stderr } = await (restrict === undefined
    ? playDemo(words)
    : playTwoCpus(twoCpus));
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

/** Percentiles by nearest rank, and the extremes. */
function spread(value: (json: DemoJson) => number | null) {
  const known = runs
    .flatMap(({ json }) => (json === null ? [] : (value(json) ?? [])))
    .sort((a, b) => a - b);
  const at = (share: number): number | null =>
    known[Math.min(known.length - 1, Math.max(0, Math.ceil(known.length * share) - 1))] ?? null;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: known.at(-1) ?? null };
}

function summarise(): void {
  const total = (value: (json: DemoJson) => number): number =>
    runs.reduce((sum, { json }) => sum + (json === null ? 0 : value(json)), 0);
  const spreads = {
    stall_ms: spread((json) => json.stall_ms),
    detect_ms: spread((json) => json.detect_ms),
    golive_ms: spread((json) => json.golive_ms),
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
    protocol: values.protocol,
    vcpus: Number(values.vcpus),
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
    `${summary.flawless} of ${summary.runs} flawless; lost ${summary.lost}, corrupted ` +
      `${summary.corrupted}, reconnects ${summary.reconnects}`,
  );
  console.log(JSON.stringify(summary));
  if (failures.length > 0 || runs.length < count) process.exitCode = 1;
  else if (values.keep === undefined) rmSync(kept, { recursive: true, force: true });
}
