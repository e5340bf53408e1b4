// SPDX-License-Identifier: Apache-2.0
/** The first file of a log; what the courier appends is in test/native/courier-ship.test.ts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readLog, someFrames, tempDir, WRITER, writeFrames } from '../../bench/stand-ins/logs.ts';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { LogFile, logError } from '../../src/log/log-file.ts';
import { readSegmentHeader } from '../../src/log/segment.ts';

function failure(run: () => unknown): UnderstudyError {
  try {
    run();
  } catch (error) {
    return error as UnderstudyError;
  }
  throw new Error('it did not throw');
}

test('a new log has one file with its header, and no batch', async () => {
  const dir = join(tempDir('new'), 'log');
  const log = new LogFile(dir, WRITER);
  log.close();
  log.close();
  const bytes = readFileSync(join(dir, '000001.udl'));
  assert.is(bytes.length, log.start.offset);
  const { index, qemuBuildId, term, firstSequence } = readSegmentHeader(bytes);
  assert.equal([index, qemuBuildId, term, firstSequence], [1, WRITER.qemuBuildId, WRITER.term, 0n]);
  assert.is((await readLog(dir)).sequences.length, 0);
});

test('a folder that has a log is refused', async () => {
  const dir = tempDir('exists');
  await writeFrames(dir, someFrames(1));
  assert.is(failure(() => new LogFile(dir, WRITER)).code, 'output-exists');
  const other = tempDir('other-files');
  writeFileSync(join(other, 'notes.txt'), '');
  new LogFile(other, WRITER).close();
});

test('a batch larger than a segment has one of its own', async () => {
  const dir = tempDir('large');
  await writeFrames(dir, someFrames(4, 2, 4000), { segmentBytesMax: 300 });
  assert.is((await readLog(dir)).sequences.length, 4);
});

test('errors are operating errors, and name the file', () => {
  assert.is(failure(() => new LogFile('/dev/null/log', WRITER)).code, 'log-write');
  const full = logError('ENOSPC', '/x/000001.udl');
  assert.is(full.code, 'disk-full');
  assert.match(full.message, 'no space left while writing the exit log /x/000001.udl');
  assert.is(logError('EIO', '/x/000001.udl').code, 'log-write');
  const journal = logError('ENOSPC', '/x/disk.raw.journal').message;
  assert.match(journal, 'no space left while writing the disk journal /x/disk.raw.journal');
  assert.match(logError('EIO', '/x/disk.raw').message, 'cannot write /x/disk.raw: EIO');
});

test.run();
