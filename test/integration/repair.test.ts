// SPDX-License-Identifier: Apache-2.0
/**
 * A new backup joins a VM that runs, real processes and all: sides are killed and hand
 * over, and the client's one connection does not notice.
 *
 *   SEED=N npm test integration/repair
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { type Event, playRounds, problemOf, type Round } from '../lib/repair-rounds.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/repair`;
const repair = suite('repair');

repair('four kills and two switch-overs on one connection', async () => {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  const events: Event[] = ['kill', 'kill', 'promote', 'kill', 'promote', 'kill'];
  const played: Round[] = [];
  const result = await playRounds({
    dir: scratch('repair'),
    seed,
    events,
    onRound: (round) => played.push(round),
  }).catch((error: unknown) => {
    throw new Error(`after ${JSON.stringify(played)}: ${String(error)}; ${again}`);
  });
  assert.is(problemOf(result), '', again);
  assert.ok(result.client.answered > 500, `only ${result.client.answered} requests; ${again}`);
});

repair('two kills of a q35 with two vCPUs that compute', async () => {
  const result = await playRounds({
    dir: scratch('repair-q35'),
    seed,
    events: ['kill', 'kill'],
    vm: { machine: 'machine = "q35"\nvcpus = 2', busy: true },
    onRound: () => {},
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}; ${again}`);
  });
  assert.is(problemOf(result), '', again);
});

repair.run();
