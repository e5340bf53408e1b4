// SPDX-License-Identifier: Apache-2.0
/** The README's table is what its kept result gives, and the tool that writes it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BEGIN, END, readmeTable, withTable } from '../../bench/readme-table.ts';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { fakeResults } from '../lib/bench-results.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const kept = join(root, 'bench', 'kept');
const results = fakeResults({ seed: 9, rounds: 3, noise: 0.03 });

test('every row has every column, and every empty cell its reason', () => {
  const lines = readmeTable(results).split('\n');
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
  const readme = `# A\n${BEGIN}\nold\n${END}\nlast\n`;
  assert.is(withTable(readme, 'new'), `# A\n${BEGIN}\nnew\n${END}\nlast\n`);
  for (const wrong of ['# A', `${END}${BEGIN}`, `${BEGIN}${BEGIN}${END}`]) {
    assert.throws(() => withTable(wrong, 'new'), /it needs one line/);
  }
});

test('a reason cannot break the table', () => {
  const absent = results.absent.map((one) => ({ ...one, why: 'it said:\n a | b' }));
  const text = readmeTable({ ...results, absent });
  assert.match(text, '1. it said: a | b');
  const workloads = results.workloads.map((one) => ({ ...one, title: 'a|b\nc' }));
  const rows = readmeTable({ ...results, workloads })
    .split('\n')
    .filter((line) => line.startsWith('| a'));
  assert.is(rows.length, results.workloads.flatMap(({ figures }) => figures).length);
  assert.ok(rows.every((row) => row.startsWith('| a\\|b c: ')));
});

test('the command writes it, checks it, and says what is wrong', () => {
  const dir = tempDir('readme');
  const [file, readme] = [join(dir, 'results.json'), join(dir, 'README.md')];
  writeFileSync(file, JSON.stringify(results));
  writeFileSync(readme, `${BEGIN}\n${END}\n`);
  const run = (...words: string[]): { code: number | null; said: string } => {
    const tool = join(root, 'bench', 'readme-table.ts');
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', tool, ...words], {
      cwd: root,
      encoding: 'utf8',
    });
    return { code: status, said: stderr };
  };
  assert.is(run(file, '--readme', readme, '--check').code, 1);
  assert.is(run(file, '--readme', readme).code, 0);
  assert.is(run(file, '--readme', readme, '--check').code, 0);
  assert.match(readFileSync(readme, 'utf8'), readmeTable(results));
  assert.is(run().code, 2);
  writeFileSync(readme, 'no markers');
  assert.match(run(file, '--readme', readme).said, 'it needs one line');
});

test("the README's table is what the newest kept result gives", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const names = existsSync(kept) ? readdirSync(kept).filter((name) => name.endsWith('.json')) : [];
  const newest = names.sort().at(-1);
  // One without the other is a mistake.
  assert.is(readme.includes(BEGIN), newest !== undefined);
  if (newest === undefined) return;
  const again = `npm run bench:readme -- bench/kept/${newest}`;
  const table = readmeTable(JSON.parse(readFileSync(join(kept, newest), 'utf8')));
  assert.is(withTable(readme, table), readme, again);
});

test.run();
