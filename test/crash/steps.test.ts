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

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { randomFrom } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { KILL_POINTS, STEPS, titleOf } from '../lib/kill-points.ts';
import { type Figures, playKill } from '../lib/killed-pair.ts';
import { type Guest, referenceGuest } from '../lib/workloads.ts';

/** Pairs at a time: one computes while another waits. */
const LANES = Number(process.env.LANES ?? 2);
const PASSAGES_MAX = 30;

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const wanted = new RegExp(process.env.POINTS ?? '');
const random = randomFrom(seed);
const plays = KILL_POINTS.map((point) => ({
  point,
  title: titleOf(point),
  passage: 1 + Math.floor(random() * PASSAGES_MAX),
})).filter(({ title }) => wanted.test(title));
const dir = scratch('steps');
const guest = plainGuest();
const steps = suite('a process of a pair dies');

steps('every step has a place to die at', () => {
  assert.ok(plays.length > 0, `no point is called ${wanted}`);
  for (const step of STEPS)
    assert.ok(
      KILL_POINTS.some((point) => point.step === step),
      step,
    );
});

const results: Promise<Figures>[] = [];
for (const [index, { point, title, passage }] of plays.entries()) {
  const result = (async () => {
    await results[index - LANES]?.catch(() => {}); // its own test tells
    const own = join(dir, String(index));
    mkdirSync(own);
    return playKill({ point, passage, seed, guest: await guest, dir: own });
  })();
  result.catch(() => {}); // until its test awaits it
  results.push(result);
  steps(title, async () => {
    try {
      const { left, stored, answers } = await result;
      console.log(
        `${title} (passage ${passage}): ${left} left, ${stored} stored, ${answers} answers`,
      );
    } catch (error) {
      const again = `again with SEED=${seed} POINTS='${title}' npm test crash/steps`;
      throw new Error(`${error instanceof Error ? error.message : error}\n${again}`);
    }
  });
}

steps.run();

/**
 * Boots are what takes time here. A fifth of one is the kernel's inflating of its
 * initrd, done here once; some more is a table for tracing, which nobody reads.
 */
async function plainGuest(): Promise<Guest> {
  const found = await referenceGuest();
  const initrd = join(dir, 'initrd');
  writeFileSync(initrd, gunzipSync(readFileSync(found.initrd)));
  return { ...found, initrd, append: `${found.append} initcall_blacklist=trace_eval_init` };
}
