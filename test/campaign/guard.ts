// SPDX-License-Identifier: Apache-2.0
/**
 * Kills and stops Redis in a protected guest, N times each, and counts how long it takes until
 * a client is served again; at the end both replicas' digests are equal.
 *
 *   npm run campaign:guard -- [--count 20] [--protocol lockstep] [--keep DIR]
 *
 * Ends with one JSON object on stdout; exit code 1 when it took longer than 3 s, an answered
 * request was lost, or the replicas differed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Fault, Guarded } from '../lib/guarded.ts';

const LIMIT_MS = 3000;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    protocol: { type: 'string', default: 'lockstep' },
    keep: { type: 'string' },
  },
});
const count = Number(values.count);
if (!Number.isInteger(count) || count < 1) {
  console.error('usage: --count N --protocol NAME --keep DIR');
  process.exit(2);
}
const dir = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-guard-'));
mkdirSync(dir, { recursive: true });

const times: Record<Fault, number[]> = { kill: [], stop: [] };
let problem = '';
const guarded = await Guarded.start(dir, {
  guard: '{ agent = true }',
  agent: 'guard',
  protocol: values.protocol,
});
try {
  const isUp = (facts: { services: readonly { state: string }[] }): boolean =>
    facts.services[0]?.state === 'up';
  await guarded.until('primary', 'Redis is up', isUp);
  for (let n = 1; n <= count; n += 1) {
    for (const fault of ['kill', 'stop'] as const) {
      const ms = await guarded.fault('primary', fault);
      times[fault].push(ms);
      console.error(`${n} of ${count}: ${fault}: serving again after ${ms} ms`);
      await guarded.until('primary', 'Redis is up again', isUp);
    }
  }
  guarded.lostNothing();
  await guarded.stopsEqual();
} catch (error) {
  problem = error instanceof Error ? error.message : String(error);
} finally {
  await guarded.end();
}
const late = Object.values(times)
  .flat()
  .filter((ms) => ms > LIMIT_MS).length;
if (late > 0 && problem === '') problem = `${late} took longer than ${LIMIT_MS} ms`;
const spread = (all: number[]) => {
  const sorted = [...all].sort((a, b) => a - b);
  return {
    runs: sorted.length,
    median_ms: sorted[Math.ceil(sorted.length / 2) - 1] ?? null,
    max_ms: sorted.at(-1) ?? null,
  };
};
console.log(
  JSON.stringify({
    protocol: values.protocol,
    kill: spread(times.kill),
    stop: spread(times.stop),
    digests: problem === '' ? 'equal' : null,
    problem,
  }),
);
if (problem === '') rmSync(dir, { recursive: true, force: true });
else console.error(`FAILED: ${problem}\nkept ${dir}`);
process.exit(problem === '' ? 0 : 1);
