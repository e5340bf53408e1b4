// SPDX-License-Identifier: Apache-2.0
/**
 * Makes one host of a protected VM sick, in each way that is known and on either side, N times
 * under the demo's load: each time on a fresh pair.
 *
 *   npm run campaign:grey -- [--count 20] [--minutes M] [--lanes 1] [--only 'log frozen'] [--sick a|b]
 *        [--seed N] [--protocol NAME] [--durability memory|disk] [--keep DIR]
 *
 * a has the VM. --minutes: none is begun later. --lanes: so many pairs at a time; what is measured
 * in ms is then that of a busy host. A run is flawless where one side serves within three seconds and
 * the other one does not, nothing that was acknowledged is missing or wrong on its disk, the client kept
 * its one connection, and `status` says why. Ends with a table on stderr and one JSON object on stdout;
 * exit code 1 when one run was not flawless. A failed run's folder is kept.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/errors.ts';
import { textTable } from '../../src/base/text-table.ts';
import { playGrey } from '../lib/grey.ts';
import { faultOf, ILLNESSES, type Illness } from '../lib/grey-illness.ts';
import { HOSTS, type Host } from '../lib/two-hosts.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    minutes: { type: 'string', default: '600' },
    lanes: { type: 'string', default: '1' },
    only: { type: 'string' },
    sick: { type: 'string' },
    seed: { type: 'string' },
    protocol: { type: 'string', default: 'lockstep' },
    durability: { type: 'string', default: 'disk' },
    keep: { type: 'string' },
  },
});
const count = Number(values.count);
const lanes = Number(values.lanes);
const endMs = performance.now() + Number(values.minutes) * 60_000;
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000);
const illnesses = ILLNESSES.filter((one) => values.only === undefined || one === values.only);
const sides = HOSTS.filter((host) => values.sick === undefined || host === values.sick);
const isWhole = (value: number): boolean => Number.isInteger(value) && value >= 1;
if (!isWhole(count) || !isWhole(lanes) || illnesses.length === 0 || sides.length === 0) {
  const names = ILLNESSES.map((one) => `'${one}'`).join('|');
  console.error(`usage: --count N --lanes N --only ${names} --sick a|b`);
  process.exit(2);
}

interface Run {
  readonly illness: Illness;
  readonly sick: Host;
  readonly stallMs: number;
  readonly fault: string;
}

const kept = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-grey-'));
mkdirSync(kept, { recursive: true });
const replication = [`protocol = "${values.protocol}"`, `durability = "${values.durability}"`];
const runs: Run[] = [];
const waiting = Array.from({ length: count }, (_, n) =>
  illnesses.flatMap((illness) => sides.map((sick) => ({ illness, sick, n }))),
).flat();
await Promise.all(Array.from({ length: lanes }, lane));
summarise();

async function lane(): Promise<void> {
  while (performance.now() < endMs) {
    const next = waiting.shift();
    if (next === undefined) return;
    const { illness, sick, n } = next;
    runs.push(await once(illness, sick, n));
  }
}

async function once(illness: Illness, sick: Host, n: number): Promise<Run> {
  const seed = firstSeed + n;
  const dir = join(kept, `${illness.replaceAll(' ', '-')}-${sick}-${seed}`);
  const played = await playGrey({ dir, illness, sick, seed, replication }).then(
    (result) => ({ stallMs: result.stallMs, fault: faultOf({ illness, sick }, result) }),
    (error: unknown) => ({ stallMs: Number.NaN, fault: messageOf(error) }),
  );
  const stall = Number.isNaN(played.stallMs) ? '' : ` after ${Math.round(played.stallMs)} ms`;
  const verdict = played.fault === '' ? `well${stall}` : played.fault.split('\n')[0];
  console.error(`${n + 1}/${count} ${illness}, ${sick}: ${verdict}`);
  if (played.fault === '') rmSync(dir, { recursive: true, force: true });
  else writeFileSync(join(dir, 'fault'), `seed ${seed}\n${played.fault}\n`);
  return { illness, sick, ...played };
}

function summarise(): void {
  const table = illnesses.flatMap((illness) =>
    sides.map((sick) => {
      const all = runs.filter((run) => run.illness === illness && run.sick === sick);
      const stalls = all.map(({ stallMs }) => stallMs).filter((ms) => !Number.isNaN(ms));
      stalls.sort((a, b) => a - b);
      const flawless = all.filter(({ fault }) => fault === '').length;
      const median = stalls[Math.floor(stalls.length / 2)] ?? Number.NaN;
      return {
        illness,
        sick,
        runs: all.length,
        flawless,
        median,
        max: stalls.at(-1) ?? Number.NaN,
      };
    }),
  );
  const head = ['sick', 'side', 'flawless', 'no answer: median ms', 'max ms'];
  const shown = textTable({ head });
  const rows = table.map(({ illness, sick, runs: all, flawless, median, max }) => [
    illness,
    sick === 'a' ? 'primary' : 'backup',
    `${flawless}/${all}`,
    `${Math.round(median)}`,
    `${Math.round(max)}`,
  ]);
  for (const row of rows) shown.push(row);
  console.error(shown.toString());
  console.log(JSON.stringify({ seed: firstSeed, protocol: values.protocol, table }));
  if (runs.some(({ fault }) => fault !== '')) process.exitCode = 1;
  else rmSync(kept, { recursive: true, force: true });
}
