// SPDX-License-Identifier: Apache-2.0
/**
 * Races for terms at a real etcd of three members, of which one or two are killed, paused or cut
 * off: each is won by exactly one, and without a majority by nobody.
 *
 *   npm run campaign:claims -- --count 1000 [--seed N]
 *
 * Ends with a table on stderr and one JSON object on stdout; exit code 1 when one race was not so.
 */
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { runRaces } from '../lib/races.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000' },
    seed: { type: 'string' },
  },
});
const count = Number(values.count);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) {
  console.error('usage: --count N --seed N');
  process.exit(2);
}
process.on('SIGINT', () => {}); // the races have it too, and tell what was raced until then
const results = await runRaces({ count, seed, stderr: 'inherit' });
const table = textTable({ head: ['fault', 'races', 'won, ms at most', 'undecided', 'said last'] });
for (const [fault, { races, wonMsMax, undecided, said }] of Object.entries(results.byFault)) {
  table.push([fault, String(races), String(wonMsMax), String(undecided), said.slice(-60)]);
}
console.error(table.toString());
for (const problem of results.problems) console.error(problem);
console.log(JSON.stringify({ seed, ...results }));
process.exit(results.problems.length === 0 ? 0 : 1);
