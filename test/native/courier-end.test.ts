// SPDX-License-Identifier: Apache-2.0
/**
 * A link that JavaScript ends while the courier's thread stores what came over it.
 * `npm run sanitize -- thread --plant end-reads` puts back the race that was here: the end received
 * into the buffer that was being written.
 */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { producedRecords, writeLog } from '../../bench/stand-ins/batches.ts';
import { HandPeer, pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { readLog, tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { LogFile } from '../../src/log/log-file.ts';

const ROUNDS = 30;
/** More than sockets hold: who reads them never has all, however late we are to end it. */
const STREAM_BYTES = 16 << 20;

test('it is ended at any moment, and the log is whole', async () => {
  const frames = writeLog(VM_ID, [...producedRecords(3n, 20_000, 4000)], 60);
  const stream = Buffer.concat(frames);
  assert.ok(stream.length > STREAM_BYTES, `${stream.length} bytes`);
  let stored = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const ring = new ExitRing();
    const dir = join(tempDir('end'), 'log');
    const file = new LogFile(dir, WRITER);
    const peer = await HandPeer.make();
    const t = new TestCourier(ring);
    t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start });
    peer.giveTo(t);
    file.close();
    peer.socket.write(stream);
    await until('some came', () => t.courier.receiveFacts().bytes > 0);
    // At another moment each time: in most of them a write is under way.
    await pause(round % 7);
    peer.far.end();
    await until('the end', () => t.closed.length === 1);
    await t.courier.close();
    const { sequences } = await readLog(dir, { tail: 'torn' });
    assert.ok(sequences.length > 0 && sequences.length <= frames.length);
    if (sequences.length < frames.length) stored += 1;
    t.courier.destroy();
    ring.destroy();
    peer.close();
  }
  assert.ok(stored > ROUNDS / 4, `only ${stored} of ${ROUNDS} were ended before all had come`);
});

test.run();
