// SPDX-License-Identifier: Apache-2.0
/** Appending: order, rolling, recovery of a torn tail, and disks that are really full. */
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { LogWriter } from '../../src/log/log-writer.ts';
import { listSegments } from '../../src/log/segment.ts';
import { readLog, someFrames, tempDir, WRITER, writeFrames } from '../lib/logs.ts';

test('order is kept however many appends are under way', async () => {
  const dir = tempDir('order');
  const frames = someFrames(1500, 1, 2000);
  const writer = await LogWriter.create(dir, { ...WRITER, segmentBytesMax: 200_000 });
  await Promise.all(frames.map((frame) => writer.append(frame)));
  assert.is(writer.pendingBytes, 0);
  await writer.sync();
  await writer.close();
  const segments = await listSegments(dir);
  assert.ok(segments.length > 3);
  for (const { file } of segments) assert.ok(statSync(file).size <= 200_000);
  assert.is((await readLog(dir)).sequences.length, 1500);
});

test('a batch larger than a segment has one of its own', async () => {
  const dir = tempDir('large');
  await writeFrames(dir, someFrames(4, 2, 4000), { segmentBytesMax: 300 });
  assert.is((await listSegments(dir)).length, 4);
  assert.is((await readLog(dir)).sequences.length, 4);
});

test('a batch that does not come next is refused, and the writer goes on', async () => {
  const dir = tempDir('next');
  const [first, second, third] = someFrames(3) as [Buffer, Buffer, Buffer];
  const writer = await LogWriter.create(dir, WRITER);
  await writer.append(first);
  const gap = await writer.append(third).catch((error: Error) => error);
  assert.match((gap as Error).message, /sequence: expected 1, found 2/);
  assert.is(writer.error, null);
  assert.is(writer.nextSequence, 1n);
  await Promise.all([writer.append(second), writer.append(third)]);
  await writer.close();
  await writer.close();
  assert.is((await readLog(dir)).sequences.length, 3);
});

test('create refuses a folder that has a log', async () => {
  const dir = tempDir('exists');
  await writeFrames(dir, someFrames(1));
  const error = await LogWriter.create(dir, WRITER).catch((reason: unknown) => reason);
  assert.is((error as UnderstudyError).code, 'output-exists');
});

test('append goes on after every possible truncation of the last segment', async () => {
  const frames = someFrames(6, 2, 40);
  const dir = tempDir('recover');
  await writeFrames(dir, frames.slice(0, 5), { segmentBytesMax: 900 });
  const segments = await listSegments(dir);
  assert.ok(segments.length >= 2);
  const last = segments.at(-1)?.file ?? '';
  const bytes = readFileSync(last);
  for (let length = 0; length <= bytes.length; length++) {
    writeFileSync(last, bytes.subarray(0, length));
    const writer = await LogWriter.append(dir, WRITER);
    const next = Number(writer.nextSequence);
    assert.is(writer.recovered === null, (writer.recovered?.bytes ?? 0) === 0 && length > 0);
    for (const frame of frames.slice(next)) await writer.append(frame);
    await writer.close();
    assert.is((await readLog(dir)).sequences.length, 6, `cut to ${length} bytes`);
  }
});

test('append to a log of one segment with a torn header', async () => {
  const dir = tempDir('torn-header');
  await writeFrames(dir, someFrames(1));
  truncateSync(join(dir, '000001.udl'), 20);
  const writer = await LogWriter.append(dir, WRITER);
  assert.is(writer.recovered?.bytes, 20);
  await writer.append(someFrames(1)[0] as Buffer);
  await writer.close();
  assert.is((await readLog(dir)).sequences.length, 1);
});

// A real full disk: a tiny tmpfs in a mount namespace of its own, so that no
// privilege beyond a user namespace is needed and nothing has to be unmounted.
test('a full disk poisons the writer; what was written stays readable', () => {
  const script = fileURLToPath(new URL('../lib/fill-disk.ts', import.meta.url));
  const dir = tempDir('full');
  const result = spawnSync(
    'unshare',
    [
      '--user',
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs -o size=256k none "$1" && exec "$2" --import tsx "$3" "$1"',
      'sh',
      dir,
      process.execPath,
      script,
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  assert.is(result.status, 0, result.stderr);
  const report = JSON.parse(result.stdout);
  assert.is(report.code, 'disk-full');
  assert.match(report.message, /no space left while writing the exit log .*000001\.udl/);
  assert.is(report.afterwards, 'disk-full');
  assert.is(report.sync, 'disk-full');
  assert.is(report.close, 'disk-full');
  assert.is(report.stillPoisonedWithSpace, 'disk-full');
  assert.ok(report.acknowledged > 0);
  assert.is(report.rejected, report.appended - report.acknowledged);
  assert.is(report.readable, report.acknowledged, 'what was acknowledged, and nothing else');
});

test('a file that cannot be written any more', async () => {
  const dir = tempDir('limit');
  const script = fileURLToPath(new URL('../lib/fill-disk.ts', import.meta.url));
  // EFBIG, from the file-size limit of the process.
  const shell = 'ulimit -f 128; trap "" XFSZ; exec "$0" --import tsx "$1" "$2"';
  const result = spawnSync('sh', ['-c', shell, process.execPath, script, dir], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.is(result.status, 0, result.stderr);
  const report = JSON.parse(result.stdout);
  assert.is(report.code, 'log-write');
  assert.is(report.readable, report.acknowledged);
});

test('errors are operating errors with an exit code', async () => {
  const error = await LogWriter.create('/dev/null/log', WRITER).catch((reason: unknown) => reason);
  assert.instance(error, Error);
  const missing = await LogWriter.append(tempDir('none'), WRITER).catch((r: unknown) => r);
  assert.instance(missing, UnderstudyError);
  assert.is((missing as UnderstudyError).code, 'not-a-recording');
});

test.run();
