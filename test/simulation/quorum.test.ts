// SPDX-License-Identifier: Apache-2.0
/**
 * Some seeds of replicas around libraft's core (docs/quorum.md), and errors that they must find;
 * `npm run campaign:quorum` plays more. A failure prints its seed.
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '#scripts/lib/progress.mjs';
import { plantedSimulation, quorumPrograms } from '#scripts/steps/quorum.mjs';
import { raftPatches } from '#scripts/steps/raft.mjs';
import { PLANTS, runQuorum } from '../lib/quorum.ts';

const SEEDS = 150;
const SANITIZED_SEEDS = 20;

const progress = new Progress({ quietDone: true });
const simulation = join(await quorumPrograms(progress), 'simulation');
const sanitized = join(await quorumPrograms(progress, { sanitized: true }), 'simulation');

const quorum = suite('quorum');

quorum('one history, no answer lost, one leader a term, and it goes on', async () => {
  const { faults, seeds, answers, changes, trims, installs } = await runQuorum(simulation, [
    ...['--seed', '1', '--count', String(SEEDS)],
  ]);
  assert.equal(faults, []);
  assert.is(seeds, SEEDS);
  assert.ok(answers > 100 * SEEDS, `${answers} answers`);
  assert.ok(changes > SEEDS, `${changes} changes of membership`);
  assert.ok(trims > SEEDS, `${trims} logs trimmed`);
  assert.ok(installs > SEEDS / 2, `${installs} checkpoints installed`);
});

quorum('the same under ASan and UBSan', async () => {
  const words = ['--seed', '20001', '--count', String(SANITIZED_SEEDS)];
  assert.equal((await runQuorum(sanitized, words)).faults, []);
});

for (const schedule of ['figure-8', 'two-votes', 'hung-disk']) {
  quorum(`step by step: ${schedule}`, async () => {
    const { faults } = await runQuorum(sanitized, ['--schedule', schedule, '--count', '10']);
    assert.equal(faults, []);
  });
}

for (const { plant, words } of PLANTS) {
  quorum(`found: ${plant.name} (${words.join(' ')})`, async () => {
    const { faults } = await runQuorum(await plantedSimulation(plant, progress), words);
    assert.is(faults.length, 1, 'it was not found');
  });
}

raftPatches().forEach((name, index) => {
  const words = ['--patch', String(index + 1)];
  quorum(`libraft needs ${name}`, async () => {
    assert.equal((await runQuorum(sanitized, words)).faults, []);
    const without = await plantedSimulation({ name, without: name }, progress);
    assert.is((await runQuorum(without, words)).faults.length, 1);
  });
});

quorum.run();
