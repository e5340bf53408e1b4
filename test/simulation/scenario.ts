// SPDX-License-Identifier: Apache-2.0
/** One story of faults, played at any seed and under any protocol, the same each time. */
import * as assert from 'uvu/assert';
import type { ProtocolName } from '../../src/epochs/registry.ts';
import { type PairOptions, SimPair } from './pair.ts';
import { Random } from './random.ts';
import { Repair } from './repair.ts';

export interface Scenario {
  readonly name: string;
  /** Seeds of the tests begin here. */
  readonly base: number;
  /** @throws what was violated; the end of the trace is printed, and how to see it again */
  play(seed: number, protocol: ProtocolName): Promise<void>;
}

interface Stage {
  readonly world: { readonly trace: readonly string[] };
  readonly violations: readonly string[];
  dispose(): void;
}

function scenario<S extends Stage>(
  name: string,
  base: number,
  stage: (seed: number, protocol: ProtocolName) => S,
  body: (stage: S, seed: number) => Promise<void>,
): Scenario {
  const play = async (seed: number, protocol: ProtocolName): Promise<void> => {
    const set = stage(seed, protocol);
    try {
      await body(set, seed);
      assert.equal(set.violations, []);
    } catch (error) {
      const again = `npm run campaign:simulation -- --seed ${seed} --only '${name}' --protocol ${protocol}`;
      console.error(`\n${name}: seed ${seed} failed; the end of its trace:`);
      console.error(`${set.world.trace.slice(-40).join('\n')}\nagain: ${again}\n`);
      throw error;
    } finally {
      set.dispose();
    }
  };
  return { name, base, play };
}

/** A primary and a backup; one of them, or what is between them, fails. */
export function ofPair(
  name: string,
  base: number,
  body: (pair: SimPair, random: Random) => Promise<void>,
  options: Pick<PairOptions, 'unprotected'> = {},
): Scenario {
  const delay = (seed: number): [Random, [number, number]] => {
    const random = new Random(seed * 7919);
    return [random, [0.05 + random.next() * 5, 0.05 + random.next() * 5]];
  };
  return scenario(
    name,
    base,
    (seed, protocol) => new SimPair({ ...options, seed, protocol, delayMs: delay(seed)[1] }),
    async (pair, seed) => {
      await pair.start();
      await body(pair, delay(seed)[0]);
    },
  );
}

/** One VM over many hosts, from its power-on. */
export function ofRepair(
  name: string,
  base: number,
  body: (repair: Repair) => Promise<void>,
): Scenario {
  return scenario(name, base, (seed, protocol) => new Repair(seed, protocol), body);
}
