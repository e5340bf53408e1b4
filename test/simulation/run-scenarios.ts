// SPDX-License-Identifier: Apache-2.0
import { suite } from 'uvu';
import { SIMULATED } from './protocols.ts';
import type { Scenario } from './scenario.ts';

/** Seeds of each scenario, under each protocol that is simulated. */
const SEEDS = Number(process.env.UNDERSTUDY_SEEDS ?? 3);

export function testAll(what: string, scenarios: readonly Scenario[]): void {
  const test = suite(what);
  for (const { name, base, play } of scenarios) {
    for (const protocol of SIMULATED) {
      test(`${name} (${protocol})`, async () => {
        for (let seed = base; seed < base + SEEDS; seed += 1) await play(seed, protocol);
      });
    }
  }
  test.run();
}
