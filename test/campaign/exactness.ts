// SPDX-License-Identifier: Apache-2.0
/**
 * Records each workload N times, replays each recording with --verify, and counts
 * divergences: 0 are allowed.
 *
 *   npm run campaign:exact -- --count 20 [--only NAME,…] [--seed N] [--keep DIR]
 *     [--kicks MICROSECONDS: a storm of random kicks on both sides]
 *     [--vcpus 1,2,4,8] [--machines pc,q35] [--devices virtio,legacy,scsi]
 *     [--total N: this many in all, spread over every workload and shape]
 *     [--first M: with --total, go on at run M of that seed's order, from 0]
 *
 * Ctrl-C ends it after the run that is under way; "again with --first" is said then.
 * A failed run is kept in DIR (default: a temporary folder) with its recording.
 * Ends with a table on stderr and one JSON object on stdout.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { Random } from '../../src/lab/random.ts';
import {
  type Guest,
  type Result,
  recordAndReplay,
  referenceGuest,
  type Shape,
  shapeName,
  WORKLOADS,
} from '../lib/workloads.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    only: { type: 'string' },
    seed: { type: 'string' },
    keep: { type: 'string' },
    vcpus: { type: 'string', default: '1' },
    machines: { type: 'string', default: 'pc' },
    devices: { type: 'string', default: 'virtio' },
    kicks: { type: 'string' },
    total: { type: 'string' },
    first: { type: 'string', default: '0' },
  },
});
const count = Number(values.count);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const only = values.only?.split(',');
const chosen = WORKLOADS.filter(({ name }) => only === undefined || only.includes(name));
if (chosen.length === 0 || !Number.isInteger(count) || count < 1) {
  console.error(`usage: --count N --only ${WORKLOADS.map(({ name }) => name).join(',')} --seed N`);
  process.exit(2);
}

const shapes = values.vcpus.split(',').flatMap((vcpus) =>
  values.machines.split(',').flatMap((machine) =>
    values.devices.split(',').map(
      (devices) =>
        // VM.toml refuses what does not exist.
        ({ vcpus: Number(vcpus), machine, devices }) as Shape,
    ),
  ),
);

// Inherited by every QEMU (native/kvm-exit-log/qemu/exitlog/verify/storm.c).
if (values.kicks !== undefined) process.env.EXITLOG_KICKS = values.kicks;

const kept = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-campaign-'));
const guest = await referenceGuest();
console.error(`${count} of each of ${chosen.map(({ name }) => name).join(', ')}; seed ${seed}`);
const results: Result[] = [];
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});
if (values.total === undefined) {
  const runs = Array.from({ length: count }, (_, round) =>
    chosen.flatMap((workload) => shapes.map((shape) => ({ workload, shape, round }))),
  ).flat();
  for (const { workload, shape, round } of runs) {
    if (!interrupted) results.push(await one(workload, shape, seed + round, guest));
  }
} else {
  const cells = spread();
  for (let run = Number(values.first); run < Number(values.total); run += 1) {
    if (interrupted) {
      console.error(`again with --seed ${seed} --first ${run}`);
      break;
    }
    const cell = cells[run % cells.length];
    if (cell !== undefined) results.push(await one(cell.workload, cell.shape, seed + run, guest));
  }
}
summarise(results);

/** Every workload with every shape that it can have, in an order that the seed decides. */
function spread() {
  const cells = chosen.flatMap((workload) =>
    shapes
      .filter(({ devices }) => workload.devices === undefined || workload.devices === devices)
      .map((shape) => ({ workload, shape })),
  );
  const random = new Random(seed);
  for (let last = cells.length - 1; last > 0; last -= 1) {
    const other = random.below(last + 1);
    [cells[last], cells[other]] = [cells[other], cells[last]] as [
      (typeof cells)[0],
      (typeof cells)[0],
    ];
  }
  return cells;
}

async function one(
  workload: (typeof WORKLOADS)[number],
  shape: Shape,
  runSeed: number,
  paths: Guest,
): Promise<Result> {
  const dir = join(kept, `${workload.name}-${shapeName(shape)}-${runSeed}`);
  let result: Result;
  try {
    result = await recordAndReplay(workload, { dir, guest: paths, seed: runSeed, shape });
  } catch (error) {
    result = {
      workload: workload.name,
      shape: shapeName(shape),
      seed: runSeed,
      ok: false,
      failure: String(error),
    };
  }
  if (result.ok) rmSync(dir, { recursive: true, force: true });
  const facts = Object.entries(result.facts ?? {}).map(([name, value]) => `${name} ${value}`);
  const text = result.skipped ?? result.failure ?? facts.join(', ');
  console.error(
    `${result.skipped !== undefined ? 'skip  ' : result.ok ? 'exact ' : 'FAILED'} ` +
      `${workload.name} ${result.shape} seed ${runSeed} ` +
      `record ${result.recordS ?? '-'} s replay ${result.replayS ?? '-'} s ` +
      `log ${result.logBytes ?? '-'} B ${text}`,
  );
  if (!result.ok) {
    console.error(
      `  kept ${dir}; again with --only ${workload.name} --seed ${runSeed} --count 1 ` +
        `--vcpus ${shape.vcpus} --machines ${shape.machine} --devices ${shape.devices}`,
    );
  }
  return result;
}

function summarise(all: readonly Result[]): void {
  const table = textTable({
    head: [
      'workload',
      'shape',
      'runs',
      'exact',
      'failed',
      'skipped',
      'log KB',
      'record s',
      'replay s',
    ],
  });
  const cells = chosen.flatMap(({ name }) => shapes.map((shape) => ({ name, shape })));
  const rows = cells.map(({ name, shape }) => {
    const runs = all.filter((run) => run.workload === name && run.shape === shapeName(shape));
    const ran = runs.filter(({ skipped }) => skipped === undefined);
    const mean = (value: (result: Result) => number | undefined): number => {
      const known = ran.flatMap((result) => value(result) ?? []);
      return known.length === 0 ? 0 : known.reduce((sum, item) => sum + item, 0) / known.length;
    };
    return {
      workload: name,
      shape: shapeName(shape),
      runs: runs.length,
      exact: ran.filter(({ ok }) => ok).length,
      failed: ran.filter(({ ok }) => !ok).length,
      skipped: runs.length - ran.length,
      log_kb_mean: Number((mean(({ logBytes }) => logBytes) / 1000).toFixed(1)),
      record_s_mean: Number(mean(({ recordS }) => recordS).toFixed(2)),
      replay_s_mean: Number(mean(({ replayS }) => replayS).toFixed(2)),
    };
  });
  for (const row of rows) table.push(Object.values(row).map(String));
  console.error(table.toString());
  const failed = all.filter(({ ok }) => !ok);
  const skipped = rows.reduce((sum, row) => sum + row.skipped, 0);
  console.log(
    JSON.stringify({
      seed,
      count,
      failed: failed.length,
      skipped,
      workloads: rows,
      failures: failed,
    }),
  );
  if (failed.length > 0) process.exitCode = 10;
  else rmSync(kept, { recursive: true, force: true });
}
