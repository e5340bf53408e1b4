// SPDX-License-Identifier: Apache-2.0
/**
 * Ours against plain TCG: every workload on every system, interleaved, the median
 * of some rounds, as ratios within this one invocation.
 *
 *   npm run bench:speed -- [--rounds 5] [--only cpu,netperf,iozone-osync,iozone-fsync]
 *        [--systems plain,record,protected,record-1s] [--plain FILE]
 *
 * record-1s: recording with a checkpoint every second.
 * FILE: the unpatched build of the same source (default: built on first use, cached).
 * One JSON object on stdout, a table and progress on stderr.
 */
import { mkdtempSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { Progress } from '../scripts/lib/progress.mjs';
import { plainQemu } from '../scripts/steps/qemu.mjs';
import { discard, pair, plain, recording, recordingFacts, replay, type System } from './systems.ts';
import { isRate, WORKLOADS, type Workload } from './workloads.ts';

const { values } = parseArgs({
  options: {
    plain: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    systems: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const names = values.only?.split(',');
const workloads = WORKLOADS.filter(({ name }) => names === undefined || names.includes(name));
const makers: Readonly<Record<string, () => System | Promise<System>>> = {
  plain: async () => plain(values.plain ?? (await plainQemu(new Progress({ quietDone: true })))),
  record: () => recording(),
  'record-1s': () => recording('record-1s', ['--checkpoint-every', '1s']),
  protected: pair,
};
const wanted = (values.systems ?? 'plain,record,protected').split(',');
const systems: System[] = [];
for (const name of wanted) {
  const make = makers[name];
  if (make !== undefined) systems.push(await make());
}
if (
  !Number.isInteger(rounds) ||
  rounds < 1 ||
  workloads.length === 0 ||
  systems.length < wanted.length
) {
  console.error(
    `usage: [--rounds N] [--plain FILE] [--only ${WORKLOADS.map(({ name }) => name).join(',')}] ` +
      '[--systems plain,record,protected,record-1s]',
  );
  process.exit(2);
}

/** figure → system → one value a round */
const figures = new Map<string, Map<string, number[]>>();

function note(figure: string, system: string, value: number): void {
  const row = figures.get(figure) ?? new Map<string, number[]>();
  figures.set(figure, row);
  row.set(system, [...(row.get(system) ?? []), value]);
}

async function measure(workload: Workload, system: System): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
  try {
    const startedMs = performance.now();
    const vm = await system.start(dir, workload.spec);
    vm.ended.catch(() => {}); // a killed VM ends with a signal
    try {
      const values = await workload.measure(vm, startedMs);
      for (const [figure, value] of Object.entries(values)) {
        note(figure, system.name, value);
        console.error(`${figure.padEnd(14)} ${system.name.padEnd(10)} ${value.toFixed(2)}`);
      }
    } finally {
      await vm.close();
    }
    if (workload.name === 'cpu' && system.name === 'record') {
      const facts = recordingFacts(dir);
      note('cpu log bytes', system.name, facts.log_bytes);
      note('cpu instructions', system.name, facts.icount);
      const recordedS = figures.get('cpu')?.get('record')?.at(-1) ?? Number.NaN;
      const seconds = await replay(dir);
      note('cpu replay/record', system.name, seconds / recordedS);
      console.error(`${'cpu'.padEnd(14)} ${'replay'.padEnd(10)} ${seconds.toFixed(2)}`);
    }
  } finally {
    discard(dir);
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

for (let round = 0; round < rounds; round += 1) {
  for (const workload of workloads) {
    for (const system of systems) await measure(workload, system);
  }
}

const table = new Table({ head: ['figure', ...systems.flatMap(({ name }) => [name, '×'])] });
const json: Record<string, unknown> = {};
for (const [figure, row] of figures) {
  const base = row.get('plain');
  const cells = systems.flatMap(({ name }) => {
    const values = row.get(name);
    if (values === undefined) return ['', ''];
    // A ratio of a round is between runs that were neighbours in time.
    const ratio =
      base === undefined ? null : median(values.map((value, at) => value / (base[at] ?? value)));
    json[`${figure} ${name}`] = { median: median(values), values, ratio };
    return [median(values).toPrecision(4), ratio === null ? '' : ratio.toFixed(3)];
  });
  table.push([`${figure} (${isRate(figure) ? 'more' : 'less'} is better)`, ...cells]);
}
console.error(table.toString());
console.log(
  JSON.stringify({ rounds, date: new Date().toISOString(), cpu: cpus()[0]?.model, figures: json }),
);
