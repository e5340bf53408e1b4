// SPDX-License-Identifier: Apache-2.0
/**
 * A few seconds of every fuzz target, each time from the same seed: what is found is a change's.
 * `npm run fuzz` looks for the rest, for hours.
 *
 *   SEED=N npm test fuzz
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mutateBytes, mutateFrame, mutateJson } from '../lib/fuzz/mutate.ts';
import { allTargets, builtTargets, type FuzzResult, runTarget } from '../lib/fuzz/run.ts';
import { Random } from '../simulation/random.ts';

const SECONDS = 5;
const SIDE_BY_SIDE = 2;

const keep = mkdtempSync(join(tmpdir(), 'understudy-fuzz-'));
const programs = await builtTargets();
const seed = Number(process.env.SEED ?? 1);
const targets = allTargets();

const fuzz = suite('fuzz');
fuzz.after(() => rmSync(keep, { recursive: true }));

/** Started in turn, so many at a time; each test waits for its own. */
const results = new Map<string, Promise<FuzzResult>>();
const lanes: Promise<unknown>[] = Array.from({ length: SIDE_BY_SIDE }, () => Promise.resolve());
targets.forEach((target, index) => {
  const lane = index % SIDE_BY_SIDE;
  const started = (lanes[lane] as Promise<unknown>).then(() =>
    runTarget(target, { programs, seconds: SECONDS, seed, keep }),
  );
  lanes[lane] = started;
  results.set(target, started);
});

for (const target of targets) {
  fuzz(target, async () => {
    const { runs, finding } = (await results.get(target)) as FuzzResult;
    assert.is(finding, null, `seed ${seed}: ${finding?.said}`);
    assert.ok(runs > 5, `${runs} runs in ${SECONDS} s`);
  });
}

fuzz('what is found is told, with the input', async () => {
  const input = join(keep, 'input');
  writeFileSync(input, 'any');
  process.env.UNDERSTUDY_FUZZ_PLANTED = 'yes';
  for (const [target, said] of [
    ['frame', /deadly signal/],
    ['hello', /a finding was planted/],
  ] as const) {
    const { finding } = await runTarget(target, { programs, seconds: 1, seed, keep, input });
    assert.is(finding?.file, input, target);
    assert.match(finding?.said ?? '', said);
    const any = await runTarget(target, { programs, seconds: 1, seed, keep });
    assert.ok(existsSync(any.finding?.file ?? ''), 'there is a file with the input');
  }
  delete process.env.UNDERSTUDY_FUZZ_PLANTED;
});

fuzz('the same seed makes the same inputs', () => {
  const first = Buffer.from('{"a":[1,"b"],"c":null}');
  for (const mutate of [mutateBytes, mutateFrame, mutateJson]) {
    const made = [1, 1, 2].map((number) => {
      const random = new Random(number);
      return Array.from({ length: 50 }, () => mutate(first, first, random).toString('hex')).join();
    });
    assert.is(made[0], made[1]);
    assert.is.not(made[0], made[2]);
  }
});

fuzz.run();
