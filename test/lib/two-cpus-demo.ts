// SPDX-License-Identifier: Apache-2.0
/**
 * The demo on two hosts that differ in their CPU, with a guest that computes beside the
 * load.
 *
 *   tsx test/lib/two-cpus-demo.ts JSON     (TwoCpus)
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import type { Side } from '../../src/demo/pair.ts';
import { isFlawless } from '../../src/demo/summary.ts';
import { type PlayOptions, playBuilt } from './built-demo.ts';
import { HOST_CPUS, type HostCpu } from './host-cpu.ts';
import { referenceGuest } from './workloads.ts';

export interface TwoCpus extends PlayOptions {
  readonly restrict: Side;
  readonly features: HostCpu;
}

const { restrict, features, ...rest } = JSON.parse(process.argv[2] ?? '{}') as TwoCpus;
const reference = await referenceGuest();
const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
const result = await playBuilt({
  ...rest,
  guest: {
    kernel,
    initrd,
    append: `${reference.append} ${append} us.test=fp-for-ever us.count=1 us.seed=${rest.seed}`,
  },
  env: { [restrict]: HOST_CPUS[features] },
});
const survivor = result.survivor ?? restrict;
const consoleText = readFileSync(
  join(rest.keep, 'state', `demo-${survivor}`, 'console.log'),
  'latin1',
);
const hashes = consoleText.match(/^fp: [0-9a-f]{16}/gm)?.length ?? 0;
console.error(`the guest told ${hashes} hashes of what it computed`);
console.log(JSON.stringify(result));
process.exitCode = isFlawless(result) && hashes > 0 ? 0 : 1;
