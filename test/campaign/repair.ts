// SPDX-License-Identifier: Apache-2.0
/**
 * One VM, one client, one connection: again and again a side is killed at random (or
 * hands over) and a new backup joins, so that the roles swap.
 *
 *   npm run campaign:repair -- [--count 100] [--event kill|promote] [--protocol NAME]
 *        [--vcpus N] [--seed N] [--keep DIR]
 *
 * Ends with a table on stderr and one JSON object on stdout; exit code 1 when a round
 * did not come to its end, or anything was lost, corrupted or different on two disks.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { type Event, playRounds, problemOf, type Round } from '../lib/repair-rounds.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    event: { type: 'string', default: 'kill' },
    protocol: { type: 'string', default: 'lockstep' },
    vcpus: { type: 'string', default: '1' },
    seed: { type: 'string' },
    keep: { type: 'string' },
  },
});
const count = Number(values.count);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!Number.isInteger(count) || count < 1 || !['kill', 'promote'].includes(values.event)) {
  console.error('usage: --count N --event kill|promote --seed N --keep DIR');
  process.exit(2);
}
const dir = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-repair-'));
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});

const rounds: Round[] = [];
let problem: string;
let requests = 0;
let disksEqual = false;
try {
  const result = await playRounds({
    dir,
    seed,
    vm: {
      machine: `vcpus = ${values.vcpus}`,
      replication: [`protocol = "${values.protocol}"`],
    },
    events: new Array<Event>(count).fill(values.event as Event),
    stopped: () => interrupted,
    onRound: (round, index) => {
      rounds.push(round);
      const { event, leader, victim, stallMs, joinMs, joinStallMs } = round;
      const what = event === 'kill' ? `${victim === leader ? 'primary' : 'backup'} killed` : event;
      console.error(
        `${index + 1}/${count} ${what}: stall ${stallMs.toFixed(0)} ms; joined in ` +
          `${joinMs.toFixed(0)} ms, stall ${joinStallMs.toFixed(0)} ms`,
      );
    },
  });
  requests = result.client.answered;
  disksEqual = result.disksEqual;
  problem = problemOf(result);
} catch (error) {
  problem = String(error);
}

/** Percentiles by nearest rank. */
function spread(value: (round: Round) => number) {
  const known = rounds.map(value).sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(known[Math.max(0, Math.ceil(known.length * share) - 1)] ?? 0);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}
const spreads = {
  stall_ms: spread(({ stallMs }) => stallMs),
  join_ms: spread(({ joinMs }) => joinMs),
  join_stall_ms: spread(({ joinStallMs }) => joinStallMs),
};
const table = textTable({
  head: ['', 'p50', 'p90', 'p99', 'max'],
});
for (const [name, { p50, p90, p99, max }] of Object.entries(spreads)) {
  table.push([name, ...[p50, p90, p99, max].map(String)]);
}
console.error(table.toString());
const killed = (who: 'primary' | 'backup'): number =>
  rounds.filter(
    ({ event, leader, victim }) => event === 'kill' && (victim === leader) === (who === 'primary'),
  ).length;
const sum = { primary: killed('primary'), backup: killed('backup') };
console.log(
  JSON.stringify({
    event: values.event,
    protocol: values.protocol,
    vcpus: Number(values.vcpus),
    seed,
    rounds: rounds.length,
    killed: sum,
    requests,
    disks_equal: disksEqual,
    ...spreads,
    problem,
  }),
);
if (problem !== '') console.error(`${problem}\nkept ${dir}; again with --seed ${seed}`);
else if (values.keep === undefined) rmSync(dir, { recursive: true, force: true });
process.exitCode = problem === '' && rounds.length === count ? 0 : 1;
