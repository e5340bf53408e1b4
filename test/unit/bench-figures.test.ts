// SPDX-License-Identifier: Apache-2.0
/** Figures of any results, whole or not: no number that is none, no gap without a reason. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linear, log, shortNumber, tickLabel } from '../../bench/charts/scale.ts';
import { escapeXml, textWidth, wrapped } from '../../bench/charts/svg.ts';
import { FIGURES } from '../../bench/figures/index.ts';
import { svgToPng } from '../../bench/report/png.ts';
import type { BenchResults } from '../../bench/results.ts';
import { fakeResults, fullResults } from '../lib/bench-results.ts';

const full = fullResults({ seed: 4, noise: 0.03 });
const bare = fakeResults({ seed: 4, rounds: 1, quick: true });
const ALL: Readonly<Record<string, BenchResults>> = {
  full,
  bare,
  'nothing at all': { ...bare, runs: [], absent: [], complete: false },
  'no systems': { ...bare, systems: [], workloads: [], runs: [], absent: [] },
  'only plain': {
    ...bare,
    systems: bare.systems.slice(0, 1),
    runs: bare.runs.filter(({ system }) => system === 'plain'),
  },
  'experiments that failed': {
    ...full,
    experiments: full.experiments.map((one) => ({ ...one, rows: [], why_not: 'no tc here' })),
  },
  'experiments with holes': {
    ...full,
    experiments: full.experiments.map((one) => ({
      ...one,
      rows: one.rows.map((row) => row.map((cell, at) => (at === 0 ? cell : null))),
    })),
  },
};

function made(name: string, results: BenchResults) {
  const figure = FIGURES.find((one) => one.name === name);
  if (figure === undefined) throw new Error(`no figure ${name}`);
  return figure.make(results);
}

const textsOf = (svg: string): string =>
  [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text).join('\n');

for (const [name, results] of Object.entries(ALL)) {
  test(`every figure of ${name}`, () => {
    for (const figure of FIGURES) {
      const { svg, columns, rows, notes } = figure.make(results);
      assert.match(svg, /^<svg [^>]*viewBox="0 0 \d+ \d+"/);
      assert.not.match(svg, /NaN|Infinity|undefined|null/, figure.name);
      assert.ok(
        rows.every((row) => row.length === columns.length),
        `${figure.name}: CSV`,
      );
      assert.ok(notes.every((note) => note.length > 0 && !/NaN|undefined/.test(note)));
      // What is said of it is said in the picture as well.
      const flat = textsOf(svg).replaceAll('\n', ' ');
      for (const note of notes)
        assert.ok(flat.includes(escapeXml(note)), `${figure.name}: ${note}`);
    }
  });
}

test("the papers' own numbers are beside ours", () => {
  const kemari = textsOf(made('kemari-2007', full).svg);
  for (const number of ['93.39', '22.81', '5.67', '0.58', '53.95', '16.54']) {
    assert.ok(kemari.includes(number), number);
  }
  assert.match(kemari, /−76 %/);
  assert.match(kemari, /−90 %/);
  assert.match(kemari, /−69 %/);
  const ft = textsOf(made('vmware-ft', full).svg);
  for (const words of ['604 of 940', '855 of 940', '730', '42', '0.5–1.5', '0.98', '0.95']) {
    assert.ok(ft.includes(words), words);
  }
  assert.match(textsOf(made('events', full).svg), '−49 % to −96 %');
  assert.match(textsOf(made('kemari-replay', full).svg), '+160 %');
  assert.match(textsOf(made('failover', full).svg), 'Remus: about 1 s');
  const build = textsOf(made('remus', full).svg);
  for (const change of ['+31 %', '+52 %', '+80 %', '+103 %']) assert.ok(build.includes(change));
});

test('remus is beside its paper at each interval, and beside lockstep', () => {
  const { rows, notes } = made('remus', full);
  const ours = rows.filter((row) => /^remus-/.test(String(row[0])));
  assert.equal(
    ours.map((row) => row[1]),
    [10, 20, 30, 40],
  );
  // A time over a time: more is slower.
  assert.ok(
    ours.every((row) => Number(row[2]) > 0.9 && Number(row[2]) < 1.4),
    String(ours),
  );
  assert.is(rows.filter((row) => row[0] === 'lockstep' && row[2] !== null).length, 1);
  const without = { ...full, runs: full.runs.filter(({ system }) => system !== 'remus-20hz') };
  const gap = made('remus', without).rows.find((row) => row[0] === 'remus-20hz');
  assert.is(gap?.[2], null);
  assert.match(String(gap?.[5]), 'not run');
  assert.not.ok(notes.some((note) => note.includes('not run')));
});

test('syncs are by kind, and fewer when only what can be seen is synced', () => {
  // For each MB that is written a protocol syncs half as often as another.
  const runs = full.runs.map((run) => {
    if (run.workload !== 'iozone' || !/^kemari/.test(run.system)) return run;
    const isEvery = run.system === 'kemari-every';
    return {
      ...run,
      values: { ...run.values, 'O_SYNC write': isEvery ? 500 : 1000 },
      facts: {
        ...run.facts,
        'O_SYNC write: epochs_per_s': 800,
        'O_SYNC write: timer_cuts_per_s': isEvery ? 321 : 0,
      },
    };
  });
  const { svg, rows } = made('events', { ...full, runs });
  const of = (measure: string, system: string) =>
    rows.find((row) => row[0] === measure && row[1] === 'iozone O_SYNC write' && row[2] === system);
  assert.is(of('syncs_per_MB', 'kemari-every')?.[3], 1600);
  assert.is(of('syncs_per_MB', 'kemari')?.[3], 800);
  assert.is(of('syncs_per_s for timer', 'kemari-every')?.[3], 321);
  assert.is(of('syncs_per_MB', 'lockstep'), undefined, 'it cuts no epochs');
  assert.match(textsOf(svg), '−50 %');
});

test('the two ways of disks are beside their paper, with a reason where there is none', () => {
  const now = made('kemari-replay', full);
  assert.ok(now.notes.some((note) => /^kemari, I\/O log: not yet/.test(note)));
  const experiments = full.experiments.map((one) => {
    const at = (name: string): number => one.columns.indexOf(name);
    const rows = one.rows.map((row) =>
      row[at('system')] === 'kemari-io-log'
        ? row
            .with(at('value'), 3000)
            .with(at('sync_bytes'), 2400)
            .with(at('disk_sync_bytes'), 40)
            .with(at('why_not'), null)
        : row[at('system')] === 'kemari'
          ? row.with(at('value'), 1000).with(at('disk_sync_bytes'), 4000)
          : row,
    );
    return one.name === 'bandwidth' ? { ...one, rows } : one;
  });
  const texts = textsOf(made('kemari-replay', { ...full, experiments }).svg);
  for (const change of ['−99 %', '−50 %', '+200 %']) assert.match(texts, change);
  assert.not.match(texts, 'not yet');
});

test('a pause has its mean by figure, and its longest since power-on', () => {
  const { rows, svg } = made('pauses', full);
  const means = rows.filter((row) => row[3] === 'cut_pause_mean_ms');
  assert.ok(means.some((row) => row[1] === 'TCP_MAERTS' && row[2] === 'kemari'));
  assert.not.ok(rows.some((row) => row[2] === 'lockstep'));
  assert.match(textsOf(svg), 'not told', 'the middle of them is no fact of these results');
});

test('a wait too short to be told counts as one: the distribution is over all kills', () => {
  const waits = (stallOf: (at: number) => number) => ({
    ...full,
    experiments: full.experiments.map((one) =>
      one.name === 'failover'
        ? { ...one, rows: one.rows.map((row, at) => row.with(1, stallOf(at >> 1))) }
        : one,
    ),
  });
  const half = made(
    'failover',
    waits((at) => (at % 2) * 25),
  );
  const words = textsOf(half.svg).split('\n');
  const row = words.slice(words.lastIndexOf('remus: the client waits (stall)') + 1);
  assert.equal(row.slice(0, 2), [escapeXml('< 20'), '25'], 'p50 and p90');
  const less = 'under remus, in 15 of 30 kills the client waited less';
  assert.ok(half.notes.some((note) => note.includes(less)));
  const long = made(
    'failover',
    waits(() => 25),
  );
  assert.not.ok(long.notes.some((note) => note.includes('waited less')));
});

test('what is only recalled is not printed as cited', () => {
  const papers = readFileSync(new URL('../../bench/papers.ts', import.meta.url), 'utf8');
  for (const recalled of ['22.24', '6.50', '385', '3.21', '1.67', '2.03']) {
    assert.not.match(papers, recalled);
  }
});

test('a protocol that is not there is "not yet" where its bar would be', () => {
  const { svg, rows } = made('kemari-2007', full);
  const missing = rows.filter((row) => row[2] === 'quorum');
  assert.is(missing.length, 3);
  assert.ok(missing.every((row) => row[3] === null && /^not yet/.test(String(row[6]))));
  for (const system of ['kemari', 'kemari-every', 'remus']) {
    const own = rows.filter((row) => row[2] === system);
    assert.is(own.length, 3);
    assert.ok(
      own.every((row) => typeof row[3] === 'number'),
      system,
    );
  }
  assert.not.ok(
    rows.some((row) => /^remus-|io-log/.test(String(row[2]))),
    'what is in a figure of its own',
  );
  const peer = rows.filter((row) => row[2] === 'colo');
  assert.is(peer.length, 3, "COLO's place, too, has a reason");
  assert.ok(peer.every((row) => row[3] === null && /no colo-compare/.test(String(row[6]))));
  // In the table, and as a bar: three metrics.
  assert.is([...svg.matchAll(/>not yet</g)].length, 2 * 3);
  assert.match(textsOf(made('bressoud-schneider', bareWithoutEpochs()).svg), 'not yet');
});

function bareWithoutEpochs(): BenchResults {
  return { ...full, systems: full.systems.filter(({ name }) => !name.includes('epoch')) };
}

test('an invalid run is not plotted', () => {
  const runs = full.runs.map((run) =>
    run.system === 'lockstep' ? { ...run, invalid: 'its disks differ' } : run,
  );
  const { rows } = made('overview', { ...full, runs });
  const own = rows.filter((row) => row[2] === 'lockstep');
  assert.ok(own.length > 0);
  assert.ok(own.every((row) => row[3] === null && /its disks differ/.test(String(row[6]))));
});

test('axes end at or beyond what they show, and their ticks are in order', () => {
  for (const values of [
    [0.3, 7],
    [1e-4, 900],
    [5, 5],
    [12, 13],
    [2e6, 3e9],
    [0.041, 1.08],
  ]) {
    for (const make of [linear, log]) {
      const scale = make(values, 0, 100);
      for (const value of values) {
        const at = scale.at(value);
        assert.ok(at >= -0.01 && at <= 100.01, `${make.name} ${values}: ${value} at ${at}`);
      }
      const places = scale.ticks.map(({ value }) => scale.at(value));
      assert.ok(places.length >= 2);
      assert.equal(
        places,
        [...places].sort((a, b) => a - b),
      );
      assert.is(new Set(scale.ticks.map(({ label }) => label)).size, places.length);
    }
  }
  assert.ok(log([], 0, 10).ticks.length > 1);
  assert.is(linear([-3, 4], 0, 10).at(-4), 0);
});

test('numbers as people write them', () => {
  assert.is(shortNumber(1873.4), '1,873');
  assert.is(shortNumber(20.14), '20.1');
  assert.is(shortNumber(0.00817), '0.00817');
  assert.is(shortNumber(-2.5), '−2.5');
  assert.is(tickLabel(100_000), '100 k');
  assert.is(tickLabel(0.30000000000000004), '0.3');
});

test('texts are broken where they are too wide, and escaped', () => {
  const words = 'so that nothing lies on anything else '.repeat(6).trim();
  const lines = wrapped(words, 150);
  assert.ok(lines.length > 5);
  assert.ok(lines.every((line) => textWidth(line) <= 150));
  assert.is(lines.join(' '), words);
  assert.is(escapeXml('<a & "b">'), '&lt;a &amp; &quot;b&quot;&gt;');
});

test('PNG has the texts, whatever fonts the host has', () => {
  const svg = (text: string): string =>
    '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="20" viewBox="0 0 80 20" ' +
    `font-family="DejaVu Sans, sans-serif"><text x="2" y="15" font-size="12">${text}</text></svg>`;
  const png = svgToPng(svg('ratio'));
  assert.is(png.subarray(1, 4).toString('latin1'), 'PNG');
  assert.is(png.readUInt32BE(16), 160);
  assert.ok(!png.equals(svgToPng(svg(' '))), 'something is drawn');
});

test.run();
