// SPDX-License-Identifier: Apache-2.0
/**
 * Any bytes, for hours, for every parser (docs/fuzzing.md).
 *
 *   npm run fuzz [-- [TARGET…] [--seconds N] [--rounds N] [--jobs N] [--seed N] [--input FILE]
 *     [--list]]
 *
 * --seconds: for each target, default 60. --rounds: all of them in turn, so many times; each round
 * begins with what was learned before. --jobs: at a time, default as many as there are cores.
 * --input: that input of one target alone. What was found is said on stderr, with the file that has
 * it, and exit code 1 then. A JSON object on stdout for each run of a target; a table of all at the
 * end on stderr: whether a target still learns (lib/fuzz/growth.ts), and the CPU time that it has
 * ever had (ledger.json, to be committed).
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { nativeTargets } from '#scripts/steps/fuzz-targets.mjs';
import { LEDGER, readLedger, withResult, writeLedger } from '../lib/fuzz/ledger.ts';
import { allTargets, builtTargets, type FuzzResult, KEPT, runTarget } from '../lib/fuzz/run.ts';
import { versionOf } from '../lib/fuzz/sources.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    rounds: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    input: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});
const [seconds, rounds, jobs, seed] = [values.seconds, values.rounds, values.jobs, values.seed].map(
  Number,
) as [number, number, number, number];
const targets = positionals.length > 0 ? positionals : allTargets();
const unknown = targets.find((target) => !allTargets().includes(target));
const areCounts = [rounds, jobs].every((count) => Number.isInteger(count) && count > 0);
const isWrong = !(seconds > 0) || !areCounts || !Number.isInteger(seed) || unknown !== undefined;
if (isWrong || (values.input !== undefined && targets.length !== 1)) {
  console.error(
    'usage: [TARGET…] [--seconds N] [--rounds N] [--jobs N] [--seed N] [--input FILE]; targets:',
  );
  console.error(`  ${allTargets().join(' ')}`);
  process.exit(2);
}
if (values.list) {
  console.log(allTargets().join('\n'));
  process.exit(0);
}

const needsPrograms = targets.some((target) => nativeTargets().includes(target));
const programs = needsPrograms ? await builtTargets() : '';
const waiting = Array.from({ length: rounds }, (_, round) =>
  targets.map((target) => ({ target, seed: seed + round })),
).flat();
const results: FuzzResult[] = [];
// As they are now: sources may be changed while it runs.
const versions = new Map(targets.map((target) => [target, versionOf(target)]));

async function lane(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const input = values.input === undefined ? {} : { input: values.input };
    const result = await runTarget(next.target, {
      ...{ programs, seconds, seed: next.seed, keep: KEPT },
      ...input,
    });
    results.push(result);
    if (values.input === undefined) {
      const version = versions.get(next.target) ?? '';
      writeLedger(LEDGER, withResult(readLedger(LEDGER), result, version));
    }
    const file = result.finding?.file ?? null;
    console.log(JSON.stringify({ ...result, seed: next.seed, finding: file }));
    if (result.finding === null) continue;
    console.error(`${result.finding.said}\n${next.target}: again with`);
    console.error(`  npm run fuzz -- ${next.target} --input ${file}`);
  }
}

const whole = (count: number): string => Math.round(count).toLocaleString('en');

/** These runs, and all that were: the ledger. */
function table(): string {
  const ledger = readLedger(LEDGER);
  const rows = targets.map((target) => {
    const own = results.filter((result) => result.target === target);
    const sum = (of: (result: FuzzResult) => number): string =>
      whole(own.reduce((total, result) => total + of(result), 0));
    const had = ledger[target];
    return [
      ...[target, sum((it) => it.cpuSeconds), sum((it) => it.runs)],
      ...[whole(own[0]?.growth.from ?? 0), whole(own.at(-1)?.growth.to ?? 0)],
      ...[whole(had?.quietCpuSeconds ?? 0), whole(had?.cpuSeconds ?? 0)],
      ...[whole(had?.earlierCpuSeconds ?? 0), sum((it) => (it.finding === null ? 0 : 1))],
    ];
  });
  const head = 'target,CPU s,inputs,features,then,nothing new s,all CPU s,earlier,found';
  return [head.split(','), ...rows]
    .map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(14) : cell.padStart(13))).join(' '))
    .join('\n');
}

await Promise.all(Array.from({ length: jobs }, lane));
if (values.input === undefined) console.error(table());
process.exit(results.every(({ finding }) => finding === null) ? 0 : 1);
