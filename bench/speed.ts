// SPDX-License-Identifier: Apache-2.0
/**
 * Ours against plain TCG while working on speed: a few workloads on a few systems,
 * interleaved, the median of some rounds, as ratios within this one invocation. Unlike
 * `understudy bench` it verifies nothing, keeps nothing, and takes another QEMU to compare with.
 *
 *   npm run bench:speed -- [--rounds 5] [--only netperf,iozone,cpu]
 *        [--systems plain,record,record-1s,replay,lockstep,remus,…] [--plain FILE]
 *
 * record-1s: with a checkpoint every second. Protected pairs have the names that the harness
 * has for them (systems/registry.ts), with `-tls` over a link with keys. `of_recording`: a
 * replay's time over that of the recording it replays; `of_plaintext` and `more`: ratio and difference
 * of what is with keys to the same without.
 * FILE: the unpatched build of the same source (default: built on first use, cached).
 * One JSON object on stdout, a table and progress on stderr.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../src/base/text-table.ts';
import { Sampler } from './run/sampler.ts';
import { type PairOptions, pair } from './systems/pair.ts';
import { record } from './systems/record.ts';
import { protectedPairs } from './systems/registry.ts';
import { replaySystem } from './systems/replay.ts';
import type { System } from './systems/system.ts';
import { plain } from './systems/unpatched.ts';
import { WORKLOADS } from './workloads/registry.ts';
import type { Measured, Workload } from './workloads/workload.ts';

const DEFAULT_WORKLOADS = 'netperf,iozone,cpu';

const { values } = parseArgs({
  options: {
    plain: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: DEFAULT_WORKLOADS },
    systems: { type: 'string', default: 'plain,record,replay,lockstep' },
  },
});
const rounds = Number(values.rounds);
const names = values.only.split(',');
const workloads = WORKLOADS.filter(({ name }) => names.includes(name));
const known: readonly System[] = [
  plain(values.plain),
  record(),
  record({ name: 'record-1s', words: ['--checkpoint-every', '1s'] }),
  replaySystem(),
  ...protectedPairs()
    .flatMap((options): PairOptions[] => {
      const name = options.name ?? options.protocol;
      return [options, { ...options, name: `${name}-tls`, tls: true }];
    })
    .map((options) => pair({ ...options, unverified: true }))
    .filter(({ notYet }) => notYet === undefined),
];
/** What a pair did meanwhile; for all of a workload, and for each of its figures. */
const PAIR_FACTS = [
  'lag_p50_ms',
  'lag_p99_ms',
  'epochs_per_s',
  'link_bytes_per_s',
  'cut_pages_mean',
  'cut_pause_mean_ms',
  'cut_pause_p99_ms',
  'cut_pause_max_ms',
];
const wanted = values.systems.split(',');
const systems = known.filter(({ name }) => wanted.includes(name));
if (
  !Number.isInteger(rounds) ||
  rounds < 1 ||
  workloads.length < names.length ||
  systems.length < wanted.length
) {
  console.error(
    `usage: [--rounds N] [--plain FILE] [--only ${WORKLOADS.map(({ name }) => name).join(',')}] ` +
      `[--systems ${known.map(({ name }) => name).join(',')}]`,
  );
  process.exit(2);
}

/** figure → system → one value a round */
const figures = new Map<string, Map<string, number[]>>();

function note(figure: string, system: string, value: number): void {
  const row = figures.get(figure) ?? new Map<string, number[]>();
  figures.set(figure, row);
  row.set(system, [...(row.get(system) ?? []), value]);
  console.error(`${figure.padEnd(44)} ${system.padEnd(20)} ${value.toFixed(2)}`);
}

/** @param dir of the round: a replay finds there what was recorded */
async function measure(workload: Workload, system: System, dir: string): Promise<void> {
  if (system.replays !== null && workload.served) return; // it has no figures
  const folder = join(dir, system.name);
  mkdirSync(folder);
  const spec = await workload.prepare('full');
  const vm = await system.start(folder, spec);
  const sampler = new Sampler(vm);
  let measured: Measured | null = null;
  try {
    measured = await workload.measure(vm, 'full');
    await vm.ended;
    // Boot, the work and the power-off: where nobody outside is waited for.
    const wholeS = (performance.now() - vm.startedMs) / 1000;
    if (!workload.served) note(`${workload.name} whole run s`, system.name, wholeS);
    for (const [figure, value] of Object.entries(measured.values)) {
      note(`${workload.name} ${figure}`, system.name, value);
    }
    for (const [fact, value] of Object.entries(measured.facts ?? {})) {
      note(`${workload.name} ${fact}`, system.name, value);
    }
  } finally {
    await vm.close();
    const facts = await sampler.stop(measured?.parts);
    for (const [name, value] of Object.entries(facts)) {
      if (PAIR_FACTS.some((fact) => name === fact || name.endsWith(`: ${fact}`))) {
        note(`${workload.name} ${name}`, system.name, value);
      }
    }
  }
}

function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Median of the rounds' ratios: each is between runs that were neighbours in time. */
function ratioOf(list: readonly number[], base: readonly number[]): number {
  return median(list.map((value, at) => value / (base[at] ?? value)));
}

for (let round = 0; round < rounds; round += 1) {
  for (const workload of workloads) {
    const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
    try {
      for (const system of systems) await measure(workload, system, dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}

/** What keys cost: medians of the rounds' ratios and differences. */
function keysCost(list: readonly number[], clear: readonly number[] | undefined) {
  if (clear === undefined) return {};
  const more = median(list.map((value, at) => value - (clear[at] ?? value)));
  return { of_plaintext: ratioOf(list, clear), more };
}

const table = textTable({ head: ['figure', ...systems.flatMap(({ name }) => [name, '×'])] });
const json: Record<string, unknown> = {};
const costs: string[] = [];
for (const [figure, row] of figures) {
  const base = row.get('plain');
  const cells = systems.flatMap(({ name }) => {
    const list = row.get(name);
    if (list === undefined) return ['', ''];
    const ratio = base === undefined ? null : ratioOf(list, base);
    const recorded = name === 'replay' ? row.get('record') : undefined;
    const of_recording = recorded === undefined ? {} : { of_recording: ratioOf(list, recorded) };
    const cost = keysCost(list, name.endsWith('-tls') ? row.get(name.slice(0, -4)) : undefined);
    json[`${figure} ${name}`] = {
      median: median(list),
      values: list,
      ratio,
      ...of_recording,
      ...cost,
    };
    if (cost.more !== undefined) {
      const more = `${cost.more < 0 ? '' : '+'}${cost.more.toPrecision(3)}`;
      costs.push(`keys, ${figure} ${name}: × ${cost.of_plaintext.toFixed(3)}, ${more}`);
    }
    return [median(list).toPrecision(4), ratio === null ? '' : ratio.toFixed(3)];
  });
  table.push([figure, ...cells]);
}
console.error(table.toString());
for (const line of costs) console.error(line);
console.log(
  JSON.stringify({ rounds, date: new Date().toISOString(), cpu: cpus()[0]?.model, figures: json }),
);
