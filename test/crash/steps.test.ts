// SPDX-License-Identifier: Apache-2.0
/**
 * A process of a real pair killed at each of the eight steps of the data path, under
 * load: what had left was covered by log that the backup had stored, exactly one VM
 * goes on, and the client's one connection loses nothing (lib/killed-pair.ts).
 *
 *   SEED=N POINTS='step 5|verify' npm test crash/steps
 *
 * The seed chooses which passage of its place is fatal to a process. No code of the
 * product knows of any of this.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KILL_POINTS, STEPS, titleOf } from '../lib/kill-points.ts';
import { killTests } from '../lib/kill-suite.ts';
import { playKill } from '../lib/killed-pair.ts';

const steps = suite('a process of a pair dies');

steps('every step has a place to die at', () => {
  for (const step of STEPS)
    assert.ok(
      KILL_POINTS.some((point) => point.step === step),
      step,
    );
});

killTests(steps, {
  file: 'crash/steps',
  points: KILL_POINTS,
  titleOf,
  play: async (play) => {
    const { left, stored, answers } = await playKill(play);
    return `${left} left, ${stored} stored, ${answers} answers`;
  },
});

steps.run();
