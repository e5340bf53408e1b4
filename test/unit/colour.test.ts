// SPDX-License-Identifier: Apache-2.0
/** Colour: on a terminal only, never under NO_COLOR; tables have none of their own. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { colourLevel } from '../../src/base/colour.ts';
import { filesBelow } from '../lib/imports.ts';

const colours = suite('colour');

colours('a stream that is no terminal has none, and NO_COLOR takes it from one that is', () => {
  const terminal = { level: 2, hasBasic: true, has256: true, has16m: false } as const;
  assert.is(colourLevel(terminal, {}), 2);
  assert.is(colourLevel(terminal, { NO_COLOR: '' }), 2);
  assert.is(colourLevel(terminal, { NO_COLOR: '1' }), 0);
  assert.is(colourLevel(false, {}), 0);
});

/** A table with a coloured cell, as a process writes it. */
function written(env: Readonly<Record<string, string>>): string {
  const script =
    "import { colour } from './src/base/colour.ts';" +
    "import { textTable } from './src/base/text-table.ts';" +
    "const table = textTable({ head: ['a head'] });" +
    "table.push([colour.red('a cell')]);" +
    'process.stdout.write(table.toString());';
  const { NO_COLOR, FORCE_COLOR, ...rest } = process.env;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const options = { cwd: projectRoot, env: { ...rest, ...env }, encoding: 'utf8' } as const;
  const { stdout, stderr, status } = spawnSync(process.execPath, args, options);
  assert.is(status, 0, stderr);
  return stdout;
}

const codesOf = (text: string): string[] => text.split('\u001b').slice(1);

colours('a table in a file has no escape codes, and one in colour only those of its cells', () => {
  assert.equal(codesOf(written({})), []);
  assert.equal(codesOf(written({ FORCE_COLOR: '1', NO_COLOR: '1' })), []);
  const coloured = codesOf(written({ FORCE_COLOR: '1' }));
  assert.equal(
    coloured.map((code) => code.slice(0, 4).replace(/m.*/, 'm')),
    ['[31m', '[39m'],
  );
});

colours('nobody colours or makes tables past these two', () => {
  const files = ['src', 'test', 'bench'].flatMap((folder) =>
    filesBelow(projectRoot, folder, ['.ts']),
  );
  const past = files.filter((path) => {
    const text = readFileSync(join(projectRoot, path), 'utf8');
    return /from '(chalk|cli-table3|@colors\/.*)'/.test(text);
  });
  assert.equal(past, ['src/base/colour.ts', 'src/base/text-table.ts']);
});

colours.run();
