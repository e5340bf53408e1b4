// SPDX-License-Identifier: Apache-2.0
/** A daemon's log does not grow for ever, and a full disk does not end its daemon. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createLogger } from '../../src/base/logger.ts';
import { RotatingFile } from '../../src/base/rotating-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-rotating-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const rotating = suite('rotating file');

async function written(holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 5) {
    assert.ok(waitedMs < 5000, 'it is written');
    await sleep(5);
  }
}

rotating('a full one is kept as .1, and the one before that is gone', async () => {
  const path = join(dir, 'a', 'log');
  const file = new RotatingFile(path, 100, () => '');
  for (let line = 0; line < 1000; line += 1) file.write(`line ${String(line).padStart(3, '0')}\n`);
  await file.settled();
  assert.equal(readdirSync(join(dir, 'a')).sort(), ['log', 'log.1']);
  const both = readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8');
  const lines = both.trimEnd().split('\n');
  assert.ok(lines.length >= 12 && lines.length <= 25, `${lines.length} lines`);
  const first = 1000 - lines.length;
  assert.equal(
    lines,
    lines.map((_, index) => `line ${String(first + index).padStart(3, '0')}`),
    'the last ones, without a gap',
  );
  assert.is(statSync(path).mode & 0o777, 0o600);
});

rotating('a later run goes on where the one before ended', async () => {
  const path = join(dir, 'again');
  for (let run = 0; run < 30; run += 1) {
    const file = new RotatingFile(path, 100, () => '');
    file.write('0123456789\n');
    await file.settled();
  }
  assert.is(statSync(`${path}.1`).size, 110);
  assert.ok(statSync(path).size <= 110);
});

rotating('lines that a full disk has no room for are counted, and nothing is thrown', async () => {
  const file = new RotatingFile('/dev/full', 1000, () => '');
  for (let line = 0; line < 3; line += 1) file.write('x\n');
  await file.settled();
});

rotating('the next line that can be written is told how many were lost', async () => {
  const path = join(dir, 'lost', 'log');
  const file = new RotatingFile(path, 10, (lines) => `${lines} lost\n`);
  file.write('0123456789\n');
  await file.settled();
  // It is full, and cannot be replaced.
  rmSync(join(dir, 'lost'), { recursive: true });
  file.write('a\n');
  file.write('b\n');
  await file.settled();
  mkdirSync(join(dir, 'lost')); // and not the file: as when it was renamed and the next found no room
  file.write('c\n');
  await file.settled();
  assert.is(readFileSync(path, 'utf8'), '2 lost\nc\n');
});

rotating('half a line, for which there was room, does not take the next one with it', () => {
  const path = join(dir, 'small');
  const module = new URL('../../src/base/rotating-file.ts', import.meta.url);
  const program = `
    import { truncateSync } from 'node:fs';
    import { RotatingFile } from ${JSON.stringify(module.href)};
    const file = new RotatingFile(${JSON.stringify(path)}, 1e6, (lines) => lines + ' lost\\n');
    for (const word of ['a', 'b']) file.write(word.repeat(5000) + '\\n');
    file.write('c\\n');
    await file.settled();
    truncateSync(${JSON.stringify(path)}, 6000);
    file.write('d\\n');`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', program];
  // 16 blocks of 512 bytes: no file of this process, and of those it starts, can be longer.
  const limited = ['-c', 'trap "" XFSZ; ulimit -f 16; exec "$@"', 'sh', ...node];
  execFileSync('sh', limited, { stdio: 'inherit' });
  const text = readFileSync(path, 'utf8');
  assert.is(text, `${'a'.repeat(5000)}\n${'b'.repeat(999)}\n2 lost\nd\n`);
});

rotating('a logger writes lines of JSON to it', async () => {
  const path = join(dir, 'daemon.log');
  const logger = createLogger({ name: 'primary', file: path, level: 'info' });
  logger.info({ event: 'live' }, 'words');
  await written(() => readFileSync(path, 'utf8').endsWith('\n'));
  const line = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  assert.equal([line.name, line.event, line.msg], ['primary', 'live', 'words']);
});

rotating.run();
