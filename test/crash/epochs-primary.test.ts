// SPDX-License-Identifier: Apache-2.0
/**
 * A process of the primary killed at each step in which an epoch is cut and shipped, under load: what
 * had left was of epochs that the backup had stored, one VM goes on, the client's one connection
 * loses nothing, and the disks of both sides are at a commit (lib/killed-pair.ts).
 *
 *   SEED=N POINTS='remus' npm test crash/epochs-primary
 *
 * The seed chooses which protocol dies where, and at which passage.
 */
import { suite } from 'uvu';
import { CUTS, epochTitle } from '../lib/epoch-kill-points.ts';
import { killTests, seed } from '../lib/kill-suite.ts';
import { EPOCH_PROTOCOLS, playKill } from '../lib/killed-pair.ts';

const protocolOf = (index: number): string =>
  EPOCH_PROTOCOLS[(index + seed) % EPOCH_PROTOCOLS.length] ?? '';

const epochs = suite('the primary dies in an epoch');

killTests(epochs, {
  file: 'crash/epochs-primary',
  points: CUTS,
  titleOf: (point, index) => epochTitle(point, protocolOf(index)),
  play: async (play, index) => {
    const { left, stored, answers } = await playKill({ ...play, protocol: protocolOf(index) });
    return `${left} left, ${stored} stored, ${answers} answers`;
  },
});

epochs.run();
