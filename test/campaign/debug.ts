// SPDX-License-Identifier: Apache-2.0
/**
 * Real gdb, again and again from the end of a recording: reverse-continue from a watchpoint
 * has to find the store that corrupted a variable, at the same position each time. Then
 * steps back from there, which are timed; and a debugger at random, whose replay has to
 * end with the recorded digest.
 *
 *   npm run campaign:debug -- [--count 20] [--steps 10] [--random 3] [--every 100000000i]
 *     [--seed N] [--recording DIR: of test/lib/wild-store.ts, made before]
 *
 * Ends with one JSON object on stdout; exit code 1 when anything was wrong.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { debugAtRandom } from '../lib/debug-random.ts';
import {
  FIND_THE_STORE,
  foundStore,
  gdb,
  killDebugServers,
  startDebug,
  symbol,
} from '../lib/debugger.ts';
import { recordWildStore } from '../lib/wild-store.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    steps: { type: 'string', default: '10' },
    random: { type: 'string', default: '3' },
    every: { type: 'string', default: '100000000i' },
    seed: { type: 'string' },
    recording: { type: 'string' },
  },
});
const count = Number(values.count);
const steps = Number(values.steps);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (![count, steps].every((n) => Number.isInteger(n) && n > 0)) {
  console.error('usage: --count N --steps N --random N --every PERIOD --seed N --recording DIR');
  process.exit(2);
}

const dir = mkdtempSync(join(tmpdir(), 'understudy-campaign-debug-'));
process.on('exit', () => {
  killDebugServers();
  rmSync(dir, { recursive: true, force: true });
});

const given = values.recording;
const { program, recording } =
  given === undefined
    ? await recordWildStore(dir, { checkpointEvery: values.every })
    : { program: join(dirname(given), 'wild-store'), recording: given };
const theStore = symbol(program, 'the_store');

const server = await startDebug(recording, ['--from', 'end']);
const positions = new Map<string, number>();
const problems: string[] = [];
const searchS: number[] = [];
const stepS: number[] = [];
for (let n = 1; n <= count; n += 1) {
  const script = ['shell date +at=%s.%N'];
  // The date before and after the two searches, and after each step.
  script.push(...FIND_THE_STORE, 'delete', 'shell date +at=%s.%N');
  for (let step = 0; step < steps; step += 1) script.push('reverse-stepi', 'shell date +at=%s.%N');
  script.push('monitor where');
  try {
    const said = await gdb({ program, target: server.target, script, dir });
    const { pc, balance, icount } = foundStore(said);
    const last = [...said.matchAll(/^icount (\d+)/gm)].at(-1)?.[1] ?? '0';
    positions.set(icount, (positions.get(icount) ?? 0) + 1);
    if (pc !== theStore) problems.push(`run ${n}: pc 0x${pc.toString(16)} after ${balance}`);
    if (BigInt(icount) - BigInt(last) !== BigInt(steps)) problems.push(`run ${n}: steps`);
    const at = [...said.matchAll(/at=([\d.]+)/g)].map(([, text]) => Number(text));
    searchS.push((at[1] ?? 0) - (at[0] ?? 0));
    for (let step = 1; step <= steps; step += 1) stepS.push((at[step + 1] ?? 0) - (at[step] ?? 0));
    console.error(`${n}/${count}: icount ${icount}, found in ${searchS.at(-1)?.toFixed(2)} s`);
  } catch (error) {
    problems.push(`run ${n}: ${String(error)}`);
  }
}
await server.end();
if (positions.size !== 1) problems.push(`positions: ${[...positions.keys()].join(' ')}`);

let hits = 0;
for (let n = 0; n < Number(values.random); n += 1) {
  try {
    hits += (await debugAtRandom(recording, { seed: seed + n, seconds: 20 })).hits;
  } catch (error) {
    problems.push(`at random, seed ${seed + n}: ${String(error)}`);
  }
}

const sorted = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);
const quantile = (list: readonly number[], q: number): number =>
  Number((sorted(list)[Math.floor(q * (list.length - 1))] ?? 0).toFixed(3));
for (const problem of problems) console.error(problem);
console.log(
  JSON.stringify({
    found: [...positions.values()].reduce((sum, n) => sum + n, 0),
    count,
    position: [...positions.keys()].join(' '),
    search_median_s: quantile(searchS, 0.5),
    reverse_stepi_median_s: quantile(stepS, 0.5),
    reverse_stepi_p90_s: quantile(stepS, 0.9),
    reverse_stepi_max_s: quantile(stepS, 1),
    steps: stepS.length,
    random_hits: hits,
    seed,
    problems,
  }),
);
process.exitCode = problems.length === 0 ? 0 : 1;
