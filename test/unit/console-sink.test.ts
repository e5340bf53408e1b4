// SPDX-License-Identifier: Apache-2.0
/** A daemon's console.log: bounded, and never in the way of the VM. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { ConsoleSink } from '../../src/daemon/console-sink.ts';

const line = (n: number): Buffer => Buffer.from(`line ${String(n).padStart(4, '0')}\n`);

test('a full file becomes the older one; the newest bytes are there, in order', async () => {
  const dir = tempDir('console');
  const path = join(dir, 'console.log');
  writeFileSync(`${path}.1`, 'of an earlier daemon');
  const sink = new ConsoleSink(path, 100);
  assert.not.ok(existsSync(`${path}.1`));
  const heard: Buffer[] = [];
  sink.listen((bytes) => heard.push(bytes));
  for (let n = 0; n < 57; n += 1) sink.write(line(n));
  await sink.close();
  assert.is(sink.error, null);
  assert.is(sink.bytes, 570);
  assert.is(Buffer.concat(heard).length, 570, 'who listens hears all');
  const all = Array.from({ length: 57 }, (_, n) => line(n).toString()).join('');
  const kept = readFileSync(`${path}.1`, 'latin1') + readFileSync(path, 'latin1');
  assert.is(kept, all.slice(-kept.length));
  assert.ok(kept.length >= 100 && kept.length <= 210, `${kept.length} bytes`);
});

test('what cannot be written is said, and who listens hears it all the same', async () => {
  const dir = tempDir('console');
  const sink = new ConsoleSink(join(dir, 'console.log'), 10);
  sink.write(line(0));
  await sink.settled();
  rmSync(dir, { recursive: true });
  const heard: Buffer[] = [];
  sink.listen((bytes) => heard.push(bytes));
  sink.write(line(1));
  sink.write(line(2));
  await sink.settled();
  assert.match(sink.error ?? '', /ENOENT/);
  assert.is(Buffer.concat(heard).toString(), `${line(1)}${line(2)}`);
});

test.run();
