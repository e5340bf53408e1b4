// SPDX-License-Identifier: Apache-2.0
/**
 * What agreement costs (docs/quorum.md): replicas as processes of this host, over loopback, and for
 * comparison a pair of the same log, sockets and threads without consensus, in turns.
 *
 *   npm run bench:quorum -- [--rounds 5] [--commits 5000] [--seconds 3] [--dir DIR]
 *
 * --dir: where logs on a disk are; those in memory are in /dev/shm. One JSON object on stdout, a
 * table on stderr. On a busy host it says so: these are microseconds.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Progress } from '#scripts/lib/progress.mjs';
import { quorumPrograms } from '#scripts/steps/quorum.mjs';
import { rightAligned, type TableCell, textTable } from '../src/base/text-table.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    commits: { type: 'string', default: '5000' },
    seconds: { type: 'string', default: '3' },
    dir: { type: 'string', default: tmpdir() },
  },
});
const ENTRY_BYTES = 200;
const BULK_BYTES = 256 * 1024;

interface Measured {
  readonly p50us?: number;
  readonly p99us?: number;
  readonly mbPerS?: number;
  readonly residentKiB: number;
  readonly followers: readonly { readonly lastIndex: number; readonly residentKiB: number }[];
}

interface Cell {
  readonly name: string;
  readonly words: readonly string[];
  readonly isDurable: boolean;
  readonly results: Measured[];
}

const latency = ['--latency', values.commits, '--bytes', String(ENTRY_BYTES)];
const bulk = ['--seconds', values.seconds, '--bytes', String(BULK_BYTES)];
const cell = (name: string, words: readonly string[]): Cell => ({
  ...{ name, words, results: [] },
  isDurable: words.includes('--durable'),
});
const cells: readonly Cell[] = [
  cell('commit, memory: pair', ['--pair', ...latency]),
  cell('commit, memory: 3 replicas', latency),
  cell('commit, memory: 5 replicas', ['--replicas', '5', ...latency]),
  cell('commit, disk: pair', ['--pair', '--durable', ...latency]),
  cell('commit, disk: 3 replicas', ['--durable', ...latency]),
  cell('commit, disk: 5 replicas', ['--durable', '--replicas', '5', ...latency]),
  cell('bulk, memory: pair', ['--pair', ...bulk]),
  cell('bulk, memory: 3 replicas', bulk),
  cell('lead given away: 3 replicas', ['--transfers', '20']),
];

const program = join(await quorumPrograms(new Progress({ quietDone: true })), 'measure');

function measure({ words, isDurable }: Cell): Measured {
  const dir = mkdtempSync(join(isDurable ? values.dir : '/dev/shm', 'understudy-quorum-'));
  try {
    const said = execFileSync(program, ['--dir', dir, ...words], { encoding: 'utf8' });
    return JSON.parse(said) as Measured;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function median(list: readonly (number | undefined)[]): number | null {
  const known = list.filter((one) => one !== undefined).sort((a, b) => a - b);
  return known[known.length >> 1] ?? null;
}

const before = loadavg()[0] ?? 0;
// The first run's pages are new to the host, which takes its time to find them.
measure(cells[7] as Cell);
for (let round = 0; round < Number(values.rounds); round++) {
  for (const one of cells) one.results.push(measure(one));
}
const rows = cells.map(({ name, results }) => ({
  name,
  p50us: median(results.map((one) => one.p50us)),
  p99us: median(results.map((one) => one.p99us)),
  mbPerS: median(results.map((one) => one.mbPerS)),
  residentMiBMax: Math.round(
    Math.max(...results.flatMap((one) => [one, ...one.followers].map((it) => it.residentKiB))) /
      1024,
  ),
}));
// What ran before it counts; this run itself does not.
const isBusy = before > 0.5;
const host = { cores: availableParallelism(), loadBefore: before, isBusy };
console.log(JSON.stringify({ rounds: Number(values.rounds), host, rows }));
const shown = (value: number | null): TableCell =>
  rightAligned(value === null ? '' : String(value));
const table = textTable({ head: ['', 'p50 us', 'p99 us', 'MB/s', 'resident MiB'], compact: true });
for (const { name, p50us, p99us, mbPerS, residentMiBMax } of rows) {
  table.push([name, ...[p50us, p99us, mbPerS, residentMiBMax].map(shown)]);
}
console.error(table.toString());
if (isBusy) console.error(`the host was busy: load ${before} before it began`);
