// SPDX-License-Identifier: Apache-2.0
/**
 * The primary of a pair by checkpoint dies, and then a process of the backup at each step of its
 * take-over (lib/killed-takeover.ts).
 *
 *   SEED=N POINTS='fence' npm test crash/takeover
 */
import { suite } from 'uvu';
import { epochTitle, TAKE_OVERS } from '../lib/epoch-kill-points.ts';
import { killTests, seed } from '../lib/kill-suite.ts';
import { EPOCH_PROTOCOLS } from '../lib/killed-pair.ts';
import { playTakeOver } from '../lib/killed-takeover.ts';

const protocolOf = (index: number): string =>
  EPOCH_PROTOCOLS[(index + seed) % EPOCH_PROTOCOLS.length] ?? '';

const takeover = suite('the backup dies while it takes over');

killTests(takeover, {
  file: 'crash/takeover',
  points: TAKE_OVERS,
  titleOf: (point, index) => epochTitle(point, protocolOf(index)),
  play: async (play, index) => `${await playTakeOver(play, protocolOf(index))} answers`,
});

takeover.run();
