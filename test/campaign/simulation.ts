// SPDX-License-Identifier: Apache-2.0
/**
 * Thousands of seeds of the simulation (test/simulation/): the addon's gate, shipper and
 * receiver and the replicas' state machines, in a world whose time and faults are a seed's.
 *
 *   npm run campaign:simulation -- [--seeds 10000] [--seed N] [--protocol NAME] [--only TEXT]
 *   npm run campaign:simulation -- --plant all [--seeds 100]
 *
 * Seed N plays scenario N modulo their number, the protocols in turn; --only: those whose
 * name has this in it. --plant: an error is put into a copy of the addon, one after the other
 * (plants.ts); each must be found.
 *
 * One JSON object on stdout; exit code 1 where a seed failed, or a planted error was not found.
 */
import { parseArgs } from 'node:util';
import { PAIR_SCENARIOS } from '../simulation/pair-scenarios.ts';
import { SIMULATED } from '../simulation/protocols.ts';
import { REPAIR_SCENARIOS } from '../simulation/repair-scenarios.ts';
import { PLANTS, playPlanted } from './plants.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string', default: '100000' },
    protocol: { type: 'string' },
    only: { type: 'string', default: '' },
    plant: { type: 'string' },
    'first-fault': { type: 'boolean', default: false },
  },
});
const isOne = values.only !== '' && values.seeds === undefined;
const seeds = Number(values.seeds ?? (isOne ? 1 : values.plant === undefined ? 10_000 : 100));
const first = Number(values.seed);
const scenarios = [...PAIR_SCENARIOS, ...REPAIR_SCENARIOS].filter(({ name }) =>
  name.includes(values.only),
);
const protocols = SIMULATED.filter((name) => name === (values.protocol ?? name));
if (scenarios.length === 0 || protocols.length === 0 || !Number.isInteger(seeds) || seeds < 1) {
  console.error(`usage: --seeds N --seed N --protocol ${SIMULATED.join('|')} --only TEXT`);
  process.exit(2);
}

if (values.plant === undefined) await campaign();
else plants(values.plant);

async function campaign(): Promise<void> {
  const startedMs = performance.now();
  const faults: { seed: number; scenario: string; protocol: string; what: string }[] = [];
  let played = 0;
  for (; played < seeds; played += 1) {
    const seed = first + played;
    const scenario = scenarios[seed % scenarios.length];
    const protocol = protocols[Math.floor(seed / scenarios.length) % protocols.length];
    if (scenario === undefined || protocol === undefined) break;
    try {
      await scenario.play(seed, protocol);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      faults.push({ seed, scenario: scenario.name, protocol, what });
      if (values['first-fault']) break;
    }
    if ((played + 1) % 500 === 0) {
      const s = Math.round((performance.now() - startedMs) / 1000);
      console.error(`${played + 1} of ${seeds} seeds, ${faults.length} faults, ${s} s`);
    }
  }
  const tookS = Math.round((performance.now() - startedMs) / 1000);
  const summary = { seeds: played, first, scenarios: scenarios.length, protocols, tookS, faults };
  console.log(JSON.stringify(summary));
  process.exitCode = faults.length === 0 ? 0 : 1;
}

function plants(which: string): void {
  const chosen = PLANTS.filter(({ name }) => which === 'all' || name === which);
  if (chosen.length === 0) {
    console.error(`--plant all|${PLANTS.map(({ name }) => name).join('|')}`);
    process.exit(2);
  }
  const results = chosen.map((plant) => {
    const found = playPlanted(plant, ['--seeds', String(seeds), '--seed', String(first)]);
    console.error(`${plant.name}: ${found === null ? 'NOT FOUND' : `found at seed ${found}`}`);
    return { plant: plant.name, seeds, foundAfter: found === null ? null : found - first + 1 };
  });
  console.log(JSON.stringify(results));
  process.exitCode = results.every(({ foundAfter }) => foundAfter !== null) ? 0 : 1;
}
