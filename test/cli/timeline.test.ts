// SPDX-License-Identifier: Apache-2.0
/** `inspect --html` as a user meets it: what it writes, what it refuses. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root, run, runJson, scratch } from '../lib/command.ts';

const dir = scratch('timeline');
const golden = join(root, 'test/golden/log-v1');
let count = 0;
const fresh = (): string => join(dir, `page-${++count}.html`);

/** A copy of the golden log that may be changed. */
function copied(): string {
  const copy = join(dir, `log-${++count}`);
  cpSync(golden, copy, { recursive: true });
  return copy;
}

async function refused(exitCode: number, args: readonly string[]): Promise<string> {
  const { code, json, stderr } = await runJson(args);
  assert.is(code, exitCode, `${args.join(' ')}: ${stderr}`);
  const { code: name, message } = json.error as { code: string; message: string };
  return `${name}: ${message}`;
}

const page = suite('inspect --html');

page('writes one file and says what is in it', async () => {
  const file = fresh();
  const before = readdirSync(golden).join();
  const { code, json } = await runJson(['inspect', golden, '--html', file]);
  assert.is(code, 0);
  assert.is(json.html, file);
  assert.is(json.records, 12);
  assert.is(json.batches, 4);
  assert.is(json.log_bytes, 1240);
  assert.is(json.ended, 'poweroff');
  const text = readFileSync(file, 'utf8');
  assert.is(json.html_bytes, Buffer.byteLength(text));
  assert.not.match(text, /(src|href)=/);
  assert.not.match(text, /@import|url\((?!#)/);
  assert.is(readdirSync(golden).join(), before);
  assert.equal(
    readdirSync(dir).filter((name) => name.startsWith('.')),
    [],
    'nothing else is left',
  );
});

page('says it to people too', async () => {
  const { code, stdout } = await run(['inspect', golden, '--html', fresh()]);
  assert.is(code, 0);
  assert.match(stdout, /12 records in 16 rows/);
  assert.match((await run(['inspect', '--help'])).stdout, '--html');
});

page('a damaged log: exit code 11, and the page has what can be read', async () => {
  const log = copied();
  const segment = join(log, '000002.udl');
  const bytes = readFileSync(segment);
  bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
  writeFileSync(segment, bytes);
  const file = fresh();
  const { code, json } = await runJson(['inspect', log, '--html', file]);
  assert.is(code, 11);
  assert.is(json.records, 9);
  assert.is((json.damage as unknown[]).length, 1);
  assert.match(readFileSync(file, 'utf8'), /Damaged: 000002\.udl at byte 424/);
  assert.ok(readFileSync(segment).equals(bytes));
});

page("a daemon's folder: the log of its only power-on, or a question", async () => {
  const state = join(dir, 'state');
  const id = '00112233445566778899aabbccddeeff';
  mkdirSync(join(state, 'log'), { recursive: true });
  cpSync(golden, join(state, 'log', id), { recursive: true });
  assert.is((await runJson(['inspect', state, '--html', fresh()])).json.records, 12);
  assert.is((await runJson(['inspect', state])).json.records, 12);
  cpSync(golden, join(state, 'log', id.replace('00', 'ff')), { recursive: true });
  assert.match(await refused(2, ['inspect', state, '--html', fresh()]), `log/${id}`);
});

page.run();

const faults = suite('inspect --html, faults');

faults('a file that exists, unless --force', async () => {
  const file = fresh();
  writeFileSync(file, 'mine');
  assert.match(await refused(1, ['inspect', golden, '--html', file]), /^output-exists: .*--force/);
  assert.is(readFileSync(file, 'utf8'), 'mine');
  assert.is((await run(['inspect', golden, '--html', file, '--force'])).code, 0);
  assert.match(readFileSync(file, 'utf8'), '<!doctype html>');
  assert.match(await refused(1, ['inspect', golden, '--html', dir]), /^output-exists/);
});

faults('what cannot be written', async () => {
  assert.match(await refused(1, ['inspect', golden, '--html', '/nowhere/x.html']), /^file-io/);
  assert.match(await refused(1, ['inspect', golden, '--html', '/proc/x.html']), /^log-write/);
});

faults('a file inside of what is looked at', async () => {
  const log = copied();
  const file = join(log, 'x.html');
  assert.match(await refused(2, ['inspect', log, '--html', file]), /^usage: .*never changes/);
  assert.not.ok(existsSync(file));
});

faults('no recording', async () => {
  const empty = join(dir, 'empty');
  mkdirSync(empty);
  for (const where of [empty, '/nowhere', join(golden, '000001.udl')]) {
    assert.match(await refused(11, ['inspect', where, '--html', fresh()]), /^not-a-recording/);
  }
});

faults('options that do not go together', async () => {
  const file = fresh();
  await refused(2, ['inspect', golden, '--html', file, '--kind', 'net_in']);
  await refused(2, ['inspect', golden, '--html', file, '--from', '5']);
  await refused(2, ['inspect', golden, '--force']);
  assert.not.ok(existsSync(file));
});

faults.run();
