// SPDX-License-Identifier: Apache-2.0
/** How a timeline page bins and labels what it holds, and how text gets into it. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  binLengths,
  binPeaks,
  binSums,
  gridOf,
  niceAtLeast,
} from '../../src/timeline/client/bins.ts';
import { type Data, decode, placeAt } from '../../src/timeline/client/data.ts';
import {
  consoleText,
  duration,
  position,
  short,
  tickLabel,
  ticks,
} from '../../src/timeline/client/scale.ts';
import type { PageHead } from '../../src/timeline/format.ts';
import { escapeHtml, escapeJson } from '../../src/timeline/page.ts';
import { Rows } from '../../src/timeline/rows.ts';

const START = { icount: 0, vtimeNs: 0, hostNs: 0 };

/** Rows that end at these instructions; guest time is ten times, host time a hundred times that. */
function dataOf(ends: readonly number[], counts: readonly number[], pointsPerRow = 1): Data {
  const rows = new Rows(16);
  const kind = rows.column('kind:1');
  const held = rows.column('held');
  ends.forEach((end, index) => {
    rows.add(kind, counts[index] ?? 0);
    rows.peak(held, index);
    rows.point(end, 10 * end, 100 * end);
  });
  rows.finish();
  const { columns, bytes } = rows.encode(START);
  const console = { bytes: 0, firstByte: 0 };
  const head = { start: START, rows: rows.length, columns, pointsPerRow, console };
  return decode(head as unknown as PageHead, bytes);
}

const bins = suite('timeline: bins');

bins('are 1, 2 or 5 times a power of ten wide, and lie still while one pans', () => {
  assert.equal(
    [0.7, 1, 1.1, 2.5, 5, 6, 99, 100, 0.03].map(niceAtLeast),
    [1, 1, 2, 5, 5, 10, 100, 100, 0.05],
  );
  const a = gridOf('icount', 0, 1000, 20);
  assert.equal([a.from, a.width, a.count], [0, 50, 21]);
  const b = gridOf('icount', 130, 1130, 20);
  assert.equal([b.from, b.width, b.count], [100, 50, 21]);
  assert.is(gridOf('icount', 3, 5, 100).width, 1, 'never less than an instruction');
});

bins('a single record counts where it is', () => {
  const data = dataOf([100, 100, 149, 150, 900], [1, 2, 4, 8, 16]);
  const sums = binSums(data, 'kind:1', gridOf('icount', 0, 1000, 20));
  assert.is(sums[2], 1 + 2 + 4, 'from 100 to 149');
  assert.is(sums[3], 8);
  assert.is(sums[18], 16);
  assert.is(
    sums.reduce((a, b) => a + b),
    31,
  );
  const zoomed = binSums(data, 'kind:1', gridOf('icount', 100, 110, 20));
  assert.is(zoomed[0], 3);
  assert.is(
    zoomed.reduce((a, b) => a + b),
    3,
    'what is elsewhere is not here',
  );
});

bins('many records in a row are spread over it', () => {
  const data = dataOf([100, 300], [10, 40], 2);
  const sums = binSums(data, 'kind:1', gridOf('icount', 0, 300, 6));
  assert.equal(Array.from(sums), [5, 5, 10, 10, 10, 10, 0]);
  // A part of it only: 150 to 200 is a quarter of the second row.
  assert.equal(Array.from(binSums(data, 'kind:1', gridOf('icount', 150, 199, 1))), [10]);
});

bins('how much of another axis passes in a bin', () => {
  const data = dataOf([100, 300], [0, 0]);
  const grid = gridOf('icount', 0, 300, 3);
  assert.equal(Array.from(binLengths(data, 'vtimeNs', grid)), [1000, 1000, 1000, 0]);
});

bins('the largest value, also of rows that only reach into a bin', () => {
  const data = dataOf([100, 140, 300], [0, 0, 0]);
  assert.equal(Array.from(binPeaks(data, 'held', gridOf('icount', 0, 300, 3))), [0, 2, 2, 2]);
});

bins('a place on one axis is a place on all', () => {
  const data = dataOf([100, 300], [0, 0]);
  assert.equal(placeAt(data, 'icount', 150), { icount: 150, vtimeNs: 1500, hostNs: 15_000 });
  assert.equal(placeAt(data, 'hostNs', 30_000), { icount: 300, vtimeNs: 3000, hostNs: 30_000 });
});

bins.run();

const labels = suite('timeline: labels');

labels('ticks', () => {
  assert.equal(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.equal(ticks(3.1, 3.9, 4), [3.2, 3.4000000000000004, 3.6, 3.8000000000000003]);
  assert.ok(ticks(0, 49, 2).length >= 2, 'an axis has more than its zero');
  assert.equal(ticks(5, 5, 4), [5]);
});

labels('numbers', () => {
  assert.equal(
    [0, 999, 1234, 999_600, 5e9].map((value) => short(value)),
    ['0', '999', '1.23 k', '1 M', '5 G'],
  );
  assert.is(short(1536, 'B'), '1.54 kB');
  assert.equal([5, 1500, 2_500_000, 3e9].map(duration), ['5 ns', '1.5 µs', '2.5 ms', '3 s']);
  assert.is(position('icount', 1234567), '1,234,567');
  assert.is(position('vtimeNs', 1_234_567_890, 1e6), '1.235 s');
  assert.is(tickLabel('icount', 2.5e9, 5e8), '2.5 G');
  assert.is(tickLabel('icount', 1.2e6, 2e5), '1.2 M');
  assert.is(tickLabel('vtimeNs', 1.5e9, 5e8), '1.5');
  assert.is(tickLabel('vtimeNs', 2e9, 1e9), '2');
});

labels.run();

const text = suite('timeline: text');

text('JSON in a script element stays in it, and stays the same', () => {
  const value = { a: '</script><!-- <script>', b: '\u2028' };
  const escaped = escapeJson(JSON.stringify(value));
  assert.not.match(escaped, '<');
  assert.equal(JSON.parse(escaped), value);
  assert.is(escapeHtml('<a href="x">&'), '&lt;a href=&quot;x&quot;&gt;&amp;');
});

text('console bytes', () => {
  const shown = (bytes: string): string => consoleText(Buffer.from(bytes, 'latin1'));
  assert.is(shown('a\r\nb\tc'), 'a\nb\tc');
  assert.is(shown('\u001b[1;31mred\u001b[0m \u001b[6nx'), 'red x');
  assert.is(shown('bell\u0007 \u001b(B'), 'bell· ·(B');
  assert.is(consoleText(Buffer.from('\u202egnp.exe')), '·gnp.exe', 'no text runs backwards');
});

text.run();
