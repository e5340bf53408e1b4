// SPDX-License-Identifier: Apache-2.0
/**
 * Two results compared: a build without change is not flagged, one with 200 µs more in each
 * acknowledgement is, on a host whose single runs differ by 5 to 15 %.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ALL, type ComparedFigure, compareResults, renderComparison } from '../../bench/compare.ts';
import type { BenchResults } from '../../bench/results.ts';
import { fakeResults } from '../lib/bench-results.ts';

const PAIRS = 10;
const before = (seed: number): BenchResults => fakeResults({ seed });

test(`an unchanged build, on a slower day, is not flagged: ${PAIRS} of ${PAIRS}`, () => {
  for (let seed = 1; seed <= PAIRS; seed += 1) {
    const after = fakeResults({ seed: 1000 + seed, host: 0.85 });
    const { flagged, rows, host_change } = compareResults(before(seed), after);
    assert.not(flagged, `seed ${seed}: ${JSON.stringify(rows.filter(isSlower))}`);
    assert.ok(host_change !== null && host_change > 0.75 && host_change < 0.95);
  }
});

for (const rounds of [3, 5]) {
  test(`200 µs more in each ack are flagged, ${rounds} rounds: ${PAIRS} of ${PAIRS}`, () => {
    let wrong = 0;
    for (let seed = 1; seed <= PAIRS; seed += 1) {
      const first = fakeResults({ seed, rounds });
      const after = fakeResults({ seed: 2000 + seed, rounds, host: 0.9, ackSleepUs: 200 });
      const { flagged, rows, together } = compareResults(first, after);
      assert.ok(flagged, `seed ${seed}`);
      const others = [...rows, ...together].filter((row) => isSlower(row) && !isRoundTrip(row));
      if (others.length > 0) wrong += 1;
    }
    assert.ok(wrong <= 1, `${wrong} pairs in which something else is flagged`);
  });
}

/** Whether a figure is one of a protected VM's that became slower. */
function isRoundTrip({ workload, unit, figure, system }: ComparedFigure): boolean {
  const isFigure =
    workload === 'netperf' && unit === 'trans/s' && /^(TCP_RR|UDP_RR|\*)$/.test(figure);
  return isFigure && (system === ALL || system.startsWith('lockstep'));
}

test('one system that is slower is seen in its figures together', () => {
  let seen = 0;
  for (let seed = 1; seed <= PAIRS; seed += 1) {
    const fresh = fakeResults({ seed: 4000 + seed, noise: 0.1 });
    const slow = scaled(scaled(fresh, 'lockstep', 'TCP_RR', 0.65), 'lockstep', 'UDP_RR', 0.65);
    const { together } = compareResults(fakeResults({ seed, noise: 0.1 }), slow);
    if (together.some((row) => isSlower(row) && row.system === 'lockstep')) seen += 1;
  }
  assert.ok(seen >= PAIRS * 0.8, `${seen} of ${PAIRS}`);
});

test('a quiet host shows it in each figure by itself, and how much', () => {
  const quiet = { noise: 0.02, drift: 0.1 };
  const after = fakeResults({ seed: 2, ...quiet, ackSleepUs: 200 });
  const { rows } = compareResults(fakeResults({ seed: 1, ...quiet }), after);
  const row = rows.find((one) => one.figure === 'TCP_RR' && one.system === 'lockstep');
  assert.is(row?.verdict, 'slower');
  // 341 µs become 541.
  assert.ok(Math.abs((row?.change ?? 0) - 341 / 541) < 0.05, String(row?.change));
  assert.ok((row?.low ?? 1) < 341 / 541 && 341 / 541 < (row?.high ?? 0));
  assert.is(
    rows.find((one) => one.figure === 'TCP_STREAM' && one.system === 'lockstep')?.verdict,
    'same',
  );
});

test('what no figure shows by itself is seen in all of a workload together', () => {
  const loud = { noise: 0.12 };
  let alone = 0;
  let together = 0;
  for (let seed = 1; seed <= PAIRS; seed += 1) {
    const after = fakeResults({ seed: 3000 + seed, ...loud, ackSleepUs: 200 });
    const comparison = compareResults(fakeResults({ seed, ...loud }), after);
    const all = comparison.together.filter(({ system }) => system === ALL);
    assert.ok(all.every(({ figure, ours }) => figure === ALL && ours));
    if (comparison.rows.some(isSlower)) alone += 1;
    if (all.some(isSlower)) together += 1;
  }
  assert.ok(together > alone && together >= PAIRS / 2, `${together} together, ${alone} alone`);
});

test('what is faster is told, and not flagged; the direction is that of the figure', () => {
  const quiet = { noise: 0.02 };
  const slow = fakeResults({ seed: 1, ...quiet, ackSleepUs: 200 });
  const { flagged, rows } = compareResults(slow, fakeResults({ seed: 2, ...quiet }));
  assert.not(flagged);
  assert.ok(rows.some(({ verdict }) => verdict === 'faster'));
  const twice = scaled(fakeResults({ seed: 3, ...quiet }), 'lockstep', 'MD5', 2);
  const times = compareResults(fakeResults({ seed: 4, ...quiet }), twice);
  const row = times.rows.find((one) => one.figure === 'MD5' && one.system === 'lockstep');
  assert.is(row?.verdict, 'slower');
  assert.ok(Math.abs((row?.change ?? 0) - 0.5) < 0.05);
});

test('a peer that is slower is told, and not flagged: it runs no code of ours', () => {
  const quiet = { noise: 0.02 };
  const after = scaled(fakeResults({ seed: 6, ...quiet }), 'icount', 'TCP_RR', 0.4);
  const { flagged, rows } = compareResults(fakeResults({ seed: 5, ...quiet }), after);
  assert.not(flagged);
  const row = rows.find((one) => one.figure === 'TCP_RR' && one.system === 'icount');
  assert.is(row?.verdict, 'slower');
  assert.not(row?.ours);
});

test('a peer that is missing in some rounds, or erratic, makes nothing slower', () => {
  const quiet = { noise: 0.03, drift: 0.3 };
  const a = fakeResults({ seed: 31, ...quiet });
  const b = fakeResults({ seed: 32, ...quiet });
  const runs = b.runs.flatMap((run) => {
    if (run.system === 'icount' && run.round < 2) return [];
    if (run.system !== 'rr-record') return [run];
    const values = Object.entries(run.values).map(([name, value]) => [
      name,
      value * (run.round % 2 === 0 ? 1.5 : 0.7),
    ]);
    return [{ ...run, values: Object.fromEntries(values) }];
  });
  const { flagged, together } = compareResults(a, { ...b, runs });
  assert.not(flagged, JSON.stringify(together.filter(isSlower)));
});

test('what is noisy says so; with one round everything is', () => {
  const loud = compareResults(
    fakeResults({ seed: 1, noise: 0.3 }),
    fakeResults({ seed: 2, noise: 0.3 }),
  );
  assert.not(loud.flagged);
  assert.ok(loud.rows.filter(({ verdict }) => verdict === 'noisy').length > 50);
  const once = compareResults(
    fakeResults({ seed: 1, rounds: 1 }),
    fakeResults({ seed: 2, rounds: 1, ackSleepUs: 200 }),
  );
  assert.not(once.flagged);
  const verdicts = new Set(once.rows.map(({ verdict }) => verdict));
  assert.equal([...verdicts].sort(), ['missing', 'noisy']);
  assert.ok(once.cautions.some((caution) => caution.includes('1 round(s)')));
});

test('what counted and no longer does is flagged; what was not asked for is not', () => {
  const a = fakeResults({ seed: 1, noise: 0.02 });
  const b = fakeResults({ seed: 2, noise: 0.02 });
  const runs = invalidCpu(b);
  const broken = compareResults(a, { ...b, runs });
  assert.ok(broken.flagged);
  const row = broken.rows.find((one) => one.workload === 'cpu' && one.system === 'lockstep');
  assert.is(row?.verdict, 'missing');
  assert.ok(row?.lost);
  assert.is(row?.why, 'second: no run counts: it diverged');
  // Not if it never did.
  const never = compareResults({ ...a, runs: invalidCpu(a) }, { ...b, runs });
  assert.not(never.flagged);
  assert.ok(never.rows.some(({ why }) => why === 'both: no run counts: it diverged'));
  const fewer = {
    ...b,
    workloads: b.workloads.filter(({ name }) => name !== 'cpu'),
    runs: b.runs.filter(({ workload }) => workload !== 'cpu'),
  };
  const some = compareResults(a, fewer);
  assert.not(some.flagged);
  const left = some.rows.find((one) => one.workload === 'cpu' && one.system === 'lockstep');
  assert.is(left?.why, 'second: it was not asked for');
});

test('two runs of the same build agree; what does not is named', () => {
  const quiet = { noise: 0.02 };
  const a = fakeResults({ seed: 21, ...quiet });
  const { agreement } = compareResults(a, fakeResults({ seed: 22, ...quiet, host: 0.8 }));
  assert.is(agreement.ratios, agreement.noisy + agreement.inside + agreement.outside.length);
  assert.ok(agreement.noisy < agreement.ratios / 5);
  assert.ok(agreement.noisyInside <= agreement.noisy);
  // One in twenty, and what luck makes of it.
  assert.ok(agreement.outside.length <= agreement.ratios / 10, String(agreement.outside.length));
  const slow = scaled(fakeResults({ seed: 22, ...quiet }), 'lockstep', 'MD5', 2);
  const other = compareResults(a, slow);
  const row = other.agreement.outside.find(({ figure }) => figure === 'MD5');
  assert.ok(row !== undefined && row.ratio < row.low);
  assert.match(renderComparison(other), /outside: cpu, MD5, lockstep: 0\.4\d\d, not 0\./);
});

test('another host is a caution', () => {
  const a = fakeResults({ seed: 1 });
  const other = { ...a, complete: false, host: { ...a.host, cpu: 'another', dirty: true } };
  assert.equal(compareResults(a, other).cautions, [
    'the CPU differs: AMD EPYC 7B13, another',
    `the second, ${a.id}, is not complete`,
    "the second's tree had changes that were not committed",
  ]);
});

test('the text has the verdict last, and what changed first', () => {
  const quiet = { noise: 0.02 };
  const a = fakeResults({ seed: 1, ...quiet });
  const text = renderComparison(
    compareResults(a, fakeResults({ seed: 2, ...quiet, ackSleepUs: 200 })),
  );
  const lines = text.split('\n');
  assert.match(lines.at(-1) ?? '', /^FLAGGED/);
  const rows = lines.filter((line) => line.startsWith('│') && !line.includes('verdict'));
  assert.match(rows[0] ?? '', 'slower');
  assert.match(text, 'colo, both: this build of QEMU has no colo-compare');
  const same = renderComparison(compareResults(a, fakeResults({ seed: 3, ...quiet })));
  assert.match(same.split('\n').at(-1) ?? '', /^Not flagged/);
});

function invalidCpu({ runs }: BenchResults): BenchResults['runs'] {
  return runs.map((run) =>
    run.workload === 'cpu' && run.system === 'lockstep' ? { ...run, invalid: 'it diverged' } : run,
  );
}

function isSlower({ verdict }: { readonly verdict: string }): boolean {
  return verdict === 'slower';
}

function scaled(
  results: BenchResults,
  system: string,
  figure: string,
  factor: number,
): BenchResults {
  const runs = results.runs.map((run) => {
    const value = run.values[figure];
    if (run.system !== system || value === undefined) return run;
    return { ...run, values: { ...run.values, [figure]: value * factor } };
  });
  return { ...results, runs };
}

test.run();
