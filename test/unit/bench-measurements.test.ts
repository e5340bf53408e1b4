// SPDX-License-Identifier: Apache-2.0
/** The tool that writes docs/measurements, and that the page is what its kept result gives. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  BEGIN,
  END,
  measurementsFigure,
  measurementsTable,
  withTable,
} from '../../bench/measurements.ts';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { fakeResults } from '../lib/bench-results.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const kept = join(root, 'bench', 'kept');
const results = fakeResults({ seed: 9, rounds: 3, noise: 0.03 });

test('every row has every column, and every empty cell its reason', () => {
  const lines = measurementsTable(results).split('\n');
  const rows = lines.filter((line) => line.startsWith('|'));
  const columns = rows[0]?.split('|').length;
  assert.is(rows.length, 2 + results.workloads.flatMap(({ figures }) => figures).length);
  assert.ok(rows.every((row) => row.split('|').length === columns));
  assert.match(rows[2] ?? '', /^\| Netperf: TCP_STREAM, Mbit\/s \| 1,\d{3} \| \d+ \(0\.\d\d; /);
  assert.match(lines[0] ?? '', /^By `understudy bench` on 2026-11-26: 2 cores of AMD EPYC 7B13/);
  assert.match(lines.join('\n'), '–<sup>1</sup>');
  assert.match(lines.join('\n'), '1. a replay serves nobody');
});

test('the table goes between the markers, and nothing else changes', () => {
  const page = `# A\n${BEGIN}\nold\n${END}\nlast\n`;
  assert.is(withTable(page, 'new'), `# A\n${BEGIN}\nnew\n${END}\nlast\n`);
  for (const wrong of ['# A', `${END}${BEGIN}`, `${BEGIN}${BEGIN}${END}`]) {
    assert.throws(() => withTable(wrong, 'new'), /it needs one line/);
  }
});

test('a reason cannot break the table', () => {
  const absent = results.absent.map((one) => ({ ...one, why: 'it said:\n a | b' }));
  const text = measurementsTable({ ...results, absent });
  assert.match(text, '1. it said: a | b');
  const workloads = results.workloads.map((one) => ({ ...one, title: 'a|b\nc' }));
  const rows = measurementsTable({ ...results, workloads })
    .split('\n')
    .filter((line) => line.startsWith('| a'));
  assert.is(rows.length, results.workloads.flatMap(({ figures }) => figures).length);
  assert.ok(rows.every((row) => row.startsWith('| a\\|b c: ')));
});

test('the command writes it, checks it, and says what is wrong', () => {
  const dir = tempDir('measurements');
  const [file, page] = [join(dir, 'results.json'), join(dir, 'page.md')];
  writeFileSync(file, JSON.stringify(results));
  writeFileSync(page, `${BEGIN}\n${END}\n`);
  const run = (...words: string[]): { code: number | null; said: string } => {
    const tool = join(root, 'bench', 'measurements.ts');
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', tool, ...words], {
      cwd: root,
      encoding: 'utf8',
    });
    return { code: status, said: stderr };
  };
  assert.is(run(file, '--page', page, '--check').code, 1);
  assert.is(run(file, '--page', page).code, 0);
  assert.is(run(file, '--page', page, '--check').code, 0);
  assert.match(readFileSync(page, 'utf8'), measurementsTable(results));
  assert.is(run().code, 2);
  writeFileSync(page, 'no markers');
  assert.match(run(file, '--page', page).said, 'it needs one line');
});

test('the page and its figure are what the newest kept result gives', () => {
  const page = readFileSync(join(root, 'docs', 'measurements.md'), 'utf8');
  const names = existsSync(kept) ? readdirSync(kept).filter((name) => name.endsWith('.json')) : [];
  const newest = names.sort().at(-1);
  // One without the other is a mistake.
  assert.is(page.includes(BEGIN), newest !== undefined);
  if (newest === undefined) return;
  const again = `npm run bench:measurements -- bench/kept/${newest}`;
  const results = JSON.parse(readFileSync(join(kept, newest), 'utf8'));
  assert.is(withTable(page, measurementsTable(results)), page, again);
  const figure = readFileSync(join(root, 'docs', 'measurements.svg'), 'utf8');
  assert.is(measurementsFigure(results), figure, again);
});

test.run();
