// SPDX-License-Identifier: Apache-2.0
/**
 * The demo on two hosts that differ in their CPU, with a guest that computes beside the
 * load: a program of its own, so that each run of a campaign has a process of its own.
 *
 *   tsx test/lib/two-cpus-demo.ts JSON     (TwoCpus)
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import type * as Demo from '../../src/demo/demo.ts';
import type { Fault } from '../../src/demo/fault.ts';
import type { Side } from '../../src/demo/pair.ts';
import { isFlawless } from '../../src/demo/summary.ts';
import { HOST_CPUS, type HostCpu } from './host-cpu.ts';
import { referenceGuest } from './workloads.ts';

export interface TwoCpus {
  readonly restrict: Side;
  readonly features: HostCpu;
  readonly fault: Fault;
  readonly seed: number;
  readonly secondsBefore: number;
  readonly secondsAfter: number;
  readonly keep: string;
}

// As built: its client is a program that a plain Node runs.
const built = join(import.meta.dirname, '../../dist/src/demo/demo.js');
const { runDemo } = (await import(built)) as typeof Demo;
const { restrict, features, ...rest } = JSON.parse(process.argv[2] ?? '{}') as TwoCpus;
const reference = await referenceGuest();
const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort());
}
const result = await runDemo(
  {
    ...rest,
    protocol: 'lockstep',
    faultAfterMs: null,
    ratePerS: 300,
    window: 8,
    guest: {
      kernel,
      initrd,
      append: `${reference.append} ${append} us.test=fp-for-ever us.count=1 us.seed=${rest.seed}`,
    },
    env: { [restrict]: HOST_CPUS[features] },
    say: (text) => console.error(text),
  },
  interrupted.signal,
);
const survivor = result.survivor ?? restrict;
const consoleText = readFileSync(
  join(rest.keep, 'state', `demo-${survivor}`, 'console.log'),
  'latin1',
);
const hashes = consoleText.match(/^fp: [0-9a-f]{16}/gm)?.length ?? 0;
console.error(`the guest told ${hashes} hashes of what it computed`);
console.log(JSON.stringify(result));
process.exitCode = isFlawless(result) && hashes > 0 ? 0 : 1;
