// SPDX-License-Identifier: Apache-2.0
/** A courier whose peer speaks faster than JavaScript hears, or ends while its disk hangs. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { producedRecords, writeLog } from '../../bench/stand-ins/batches.ts';
import { pause, until } from '../../bench/stand-ins/courier.ts';
import { readLog, tempDir, VM_ID } from '../../bench/stand-ins/logs.ts';
import { receiving } from '../../bench/stand-ins/receiving.ts';
import { encodeGoodbye } from '../../src/wire/messages.ts';
import { LoopFolder } from '../lib/loop-folder.ts';

const MIB = 2 ** 20;
const bounds = suite('bounds of a courier');

const words = (message: string): Buffer =>
  encodeGoodbye({ reason: 'word', message, lastSequence: 0n, term: 1 });

bounds('while JavaScript is busy, what a peer says stays with the peer', async () => {
  const dir = tempDir('flood');
  const s = await receiving({}, {}, dir);
  const word = words('x'.repeat(4096));
  const count = Math.ceil((96 * MIB) / word.length);
  const flood = join(dir, 'flood');
  writeFileSync(flood, Buffer.alloc(count * word.length, word));
  const script = `process.stdout.write(require('node:fs').readFileSync(${JSON.stringify(flood)}))`;
  const speaker = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', s.peer.socket, 'inherit'],
  });
  // Nothing that JavaScript has to do is done meanwhile.
  const before = process.memoryUsage().rss;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 16 * MIB, `${Math.round(grown / MIB)} MiB were queued`);
  await until('all of it is heard', () => s.t.frames.length === count, 60_000);
  assert.ok(s.t.frames.every((frame) => frame.equals(word)));
  assert.equal(s.t.closed, []);
  speaker.kill();
  s.end();
});

bounds('a link that ends while the log is written leaves what is written as it came', async () => {
  assert.is(process.getuid?.(), 0, 'this test mounts a file system: run it as root');
  const folder = new LoopFolder(join(tempDir('end'), 'fs'));
  try {
    const s = await receiving({}, {}, folder.path);
    const frames = writeLog(VM_ID, [...producedRecords(3n, 300, 60)], 7);
    await pause(50);
    folder.freeze();
    s.peer.socket.write(Buffer.concat(frames));
    await until('it is read', () => s.t.courier.receiveFacts().bytes > 0);
    // This it does not read any more, but to be rid of it.
    s.peer.socket.write(Buffer.alloc(256 << 10, words('never heard')));
    await pause(200);
    s.peer.far.end();
    await pause(200);
    folder.thaw();
    await s.t.courier.close();
    const { sequences } = await readLog(s.dir);
    assert.is(sequences.length, frames.length);
    s.end();
  } finally {
    folder.remove();
  }
});

bounds.run();
