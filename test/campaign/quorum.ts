// SPDX-License-Identifier: Apache-2.0
/**
 * Thousands of seeds of replicas around libraft's core (docs/quorum.md): cuts, pauses, kills, power
 * cuts, full and failing disks, damaged segments, membership changes, with 3 and 5 replicas.
 *
 *   npm run campaign:quorum -- [--count 10000] [--seed N] [--jobs N] [--sanitized]
 *   npm run campaign:quorum -- --plant all
 *
 * --sanitized: under ASan and UBSan, some ten times slower. --plant: errors, and our patches to
 * libraft taken back, one after the other; each has to be found. `SIMULATION --seed N --trace`
 * plays one again; where it is, is said on stderr.
 *
 * One JSON object on stdout; exit code 1 where a seed failed, or a planted error was not found.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Progress } from '#scripts/lib/progress.mjs';
import { plantedSimulation, quorumPrograms } from '#scripts/steps/quorum.mjs';
import { raftPatches } from '#scripts/steps/raft.mjs';
import { type FoundBy, PLANTS, type QuorumRun, runQuorum } from '../lib/quorum.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '100000' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    sanitized: { type: 'boolean', default: false },
    plant: { type: 'string' },
  },
});
const [count, first, jobs] = [values.count, values.seed, values.jobs].map(Number) as [
  number,
  number,
  number,
];
if (![count, first, jobs].every((one) => Number.isInteger(one) && one > 0)) {
  console.error('usage: [--count N] [--seed N] [--jobs N] [--sanitized] [--plant all|NAME]');
  process.exit(2);
}
/** Seeds of a process: an assertion of libraft's ends one, and the rest of its seeds. */
const PIECE = 100;
const progress = new Progress({ quietDone: true });

if (values.plant === undefined) await campaign();
else await plants(values.plant);

async function campaign(): Promise<void> {
  const programs = await quorumPrograms(progress, { sanitized: values.sanitized });
  const simulation = join(programs, 'simulation');
  console.error(simulation);
  const startedMs = performance.now();
  const end = first + count;
  let next = first;
  let played = 0;
  const sums = { answers: 0, entries: 0, terms: 0, changes: 0, trims: 0, installs: 0 };
  const faults: QuorumRun['faults'][number][] = [];
  const lane = async (): Promise<void> => {
    while (next < end) {
      const from = next;
      const upTo = Math.min(end, from + PIECE);
      next = upTo;
      for (let at = from; at < upTo; ) {
        const run = await runQuorum(simulation, ['--seed', `${at}`, '--count', `${upTo - at}`]);
        faults.push(...run.faults);
        for (const { seed, fault } of run.faults) console.error(`seed ${seed}: ${fault}`);
        for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += run[key];
        const last = run.seeds > 0 ? upTo : (run.faults.at(-1)?.seed ?? upTo) + 1;
        played += last - at;
        at = last;
      }
      const s = Math.round((performance.now() - startedMs) / 1000);
      if (played % 1000 < PIECE)
        console.error(`${played} of ${count}, ${faults.length} faults, ${s} s`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
  const tookS = Math.round((performance.now() - startedMs) / 1000);
  console.log(JSON.stringify({ seeds: played, first, ...sums, tookS, faults }));
  process.exitCode = faults.length === 0 && played === count ? 0 : 1;
}

async function plants(which: string): Promise<void> {
  const patches: FoundBy[] = raftPatches().map((without, index) => ({
    plant: { name: without, without },
    words: ['--patch', String(index + 1)],
  }));
  const chosen = [...PLANTS, ...patches].filter(({ plant }) =>
    which === 'all' ? true : plant.name === which,
  );
  const results = [];
  for (const { plant, words } of chosen) {
    const run = await runQuorum(await plantedSimulation(plant, progress), words);
    const found = run.faults[0] ?? null;
    console.error(`${plant.name} (${words.join(' ')}): ${found?.fault ?? 'NOT FOUND'}`);
    results.push({ plant: plant.name, words: words.join(' '), found });
  }
  console.log(JSON.stringify(results));
  process.exitCode = results.length > 0 && results.every(({ found }) => found !== null) ? 0 : 1;
}
