// SPDX-License-Identifier: Apache-2.0
/** Which runs count, and what is said of cells without any. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { csv, resultsCsv } from '../../bench/report/csv.ts';
import type { BenchResults, Run } from '../../bench/results.ts';
import { performanceOf, Summary } from '../../bench/summary.ts';
import { terminalTable } from '../../bench/table.ts';
import { SYSTEMS, WORKLOADS } from '../lib/bench-model.ts';
import { fakeResults } from '../lib/bench-results.ts';

const results = fakeResults({ seed: 11, rounds: 3, noise: 0.02 });

function changed(which: (run: Run) => boolean, to: (run: Run) => Partial<Run>): BenchResults {
  const runs = results.runs.map((run) => (which(run) ? { ...run, ...to(run) } : run));
  return { ...results, runs };
}

const isRun =
  (workload: string, system: string, round?: number) =>
  (run: Run): boolean =>
    run.workload === workload &&
    run.system === system &&
    (round === undefined || run.round === round);

test('a ratio is of runs of one round', () => {
  const summary = new Summary(results);
  const [first = Number.NaN] = summary.ratios('cpu', 'lockstep', 'MD5');
  const value = (system: string): number =>
    results.runs.find(isRun('cpu', system, 0))?.values.MD5 ?? Number.NaN;
  assert.is(first, value('lockstep') / value('plain'));
  assert.is(summary.ratios('cpu', 'lockstep', 'MD5').length, 3);
});

test('performance is above 1 where it is faster, of rates and of times', () => {
  const summary = new Summary(results);
  for (const [workload, figure] of [
    ['cpu', 'MD5'],
    ['netperf', 'TCP_STREAM'],
  ] as const) {
    const cell = summary.cell(workload, 'icount', figure);
    assert.ok(cell !== undefined);
    const performance = performanceOf(cell);
    assert.ok(performance !== null && performance.low !== null && performance.high !== null);
    assert.ok(performance.ratio > 0.3 && performance.ratio < 0.6, `${figure} ${performance.ratio}`);
    assert.ok(performance.low < performance.ratio && performance.ratio < performance.high);
  }
});

test('an invalid run counts for nothing, and is named', () => {
  const one = new Summary(
    changed(isRun('cpu', 'lockstep', 1), () => ({ invalid: 'its log does not replay' })),
  );
  const cell = one.cell('cpu', 'lockstep', 'MD5');
  assert.is(cell?.ratio?.rounds, 2);
  assert.equal(cell?.leftOut, ['round 2: its log does not replay']);
  const all = new Summary(changed(isRun('cpu', 'lockstep'), () => ({ invalid: 'no' })));
  assert.is(all.cell('cpu', 'lockstep', 'MD5')?.value, null);
  assert.is(all.cell('cpu', 'lockstep', 'MD5')?.why, 'no run counts: no');
});

test('a run of a verified system counts only verified', () => {
  const faults: [Run['verification'], RegExp][] = [
    [null, /not verified/],
    [{ baseline: false, replay: true, disks: true }, /baseline/],
    [{ baseline: true, replay: false, disks: true }, /does not replay/],
    [{ baseline: true, replay: true, disks: false }, /disks differ/],
  ];
  for (const [verification, why] of faults) {
    const summary = new Summary(changed(isRun('cpu', 'lockstep'), () => ({ verification })));
    assert.match(summary.cell('cpu', 'lockstep', 'MD5')?.why ?? '', why);
  }
  // One that claims nothing needs none.
  const { cell } = { cell: new Summary(results).cell('cpu', 'icount', 'MD5') };
  assert.is(cell?.why, null);
});

test('without its baseline in any round there is a value and no ratio', () => {
  const summary = new Summary(changed(isRun('cpu', 'plain'), () => ({ invalid: 'it hung' })));
  const cell = summary.cell('cpu', 'icount', 'MD5');
  assert.ok(cell?.value !== null && cell?.ratio === null);
  assert.match(cell?.why ?? '', 'no round in which plain counts too');
});

test('every cell has a value and a ratio, or says why not', () => {
  const cut = { ...results, complete: false, runs: results.runs.slice(0, 30) };
  for (const one of [results, cut, { ...results, runs: [], absent: [] }]) {
    const { cells } = new Summary(one);
    assert.is(cells.length, SYSTEMS.length * WORKLOADS.flatMap(({ figures }) => figures).length);
    for (const { value, ratio, system, why } of cells) {
      const isWhole = value !== null && (ratio !== null || system.baseline === null);
      assert.ok(isWhole || (why !== null && why !== ''), `${system.name}: ${why}`);
    }
  }
  const [cell] = new Summary({ ...cut, runs: [], absent: [] }).cells;
  assert.is(cell?.why, 'not run: the harness was ended before');
});

test('the table in a terminal has no empty cell, and every note is used', () => {
  const broken = changed(isRun('cpu', 'lockstep', 1), () => ({ invalid: 'its disks differ' }));
  for (const width of [60, 120, 400]) {
    const text = terminalTable(broken, width);
    const rows = text.split('\n').filter((line) => /^│ (Netperf|IOzone|CPU|Boot)/.test(line));
    assert.ok(rows.length >= 9);
    for (const row of rows) {
      const cells = row.split('│').slice(2, -1);
      assert.ok(
        cells.every((cell) => cell.trim() !== ''),
        row,
      );
    }
    for (const line of text.split('\n')) {
      const number = /^\[(\d+)\] /.exec(line)?.[1];
      if (number !== undefined) assert.match(text.slice(0, text.indexOf(line)), `[${number}]`);
    }
    assert.match(text, 'left out: round 2: its disks differ');
    assert.match(text, 'No run of QEMU COLO: this build of QEMU has no colo-compare');
    assert.match(text, /quorum.*: not yet in this version/);
  }
});

test('CSV has every value and fact, and survives any text', () => {
  assert.is(
    csv(
      ['a', 'b'],
      [
        ['x, "y"', null],
        [1, true],
      ],
    ),
    'a,b\r\n"x, ""y""",\r\n1,true\r\n',
  );
  const invalid = changed(isRun('cpu', 'lockstep', 1), () => ({ invalid: 'one,\ntwo' }));
  const text = resultsCsv(invalid);
  assert.match(text, '"one,\ntwo"');
  const lines = text.replaceAll('"one,\ntwo"', 'one').trim().split('\r\n');
  const values = results.runs.flatMap(({ values, facts }) => [
    ...Object.keys(values),
    ...Object.keys(facts),
  ]);
  assert.is(lines.length, 1 + values.length + results.absent.length);
  const columns = lines[0]?.split(',').length;
  assert.ok(lines.every((line) => line.includes('"') || line.split(',').length === columns));
});

test.run();
