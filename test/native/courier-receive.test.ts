// SPDX-License-Identifier: Apache-2.0
/** The courier's receiving side: what it believes, stores, acknowledges and replays. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DraftBatch,
  producedRecords,
  writeBatch,
  writeLog,
} from '../../bench/stand-ins/batches.ts';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { readLog, tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { receiving } from '../../bench/stand-ins/receiving.ts';
import { CONSOLE, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { encodeGoodbye } from '../../src/wire/messages.ts';
import { endWorkers } from '../lib/worker-end.ts';

const records = [...producedRecords(3n, 300, 60)];
const frames = writeLog(VM_ID, records, 7);

test('batches are stored, acknowledged and put into the replay ring', async () => {
  const s = await receiving();
  const printedAt = (port: number): string =>
    records
      .filter(({ kind, channel }) => kind === KIND.CHAR_OUT && channel === port)
      .map(({ payload }) => Buffer.from(payload ?? []).toString('latin1'))
      .join('');
  s.peer.socket.write(Buffer.concat(frames));
  await until('the last ack', () => s.peer.acks.at(-1)?.sequence === BigInt(frames.length - 1));
  const last = readBatchHeader(frames.at(-1) as Buffer, 0);
  const ack = s.peer.acks.at(-1);
  assert.is(ack?.recordEnd, last.recordEnd);
  assert.is(ack?.batchChecksum, last.checksum);
  assert.is(ack?.term, 1);
  assert.is(ack?.durable, false);
  assert.is(ack?.ready, false);
  assert.ok(s.peer.acks.length < frames.length, 'one ack for all that came together');
  await until('it is filled', () => s.ring.status().inPending === records.length);
  const facts = s.courier.receiveFacts();
  assert.equal([facts.lastSequence, facts.storedSequence], [last.sequence, last.sequence]);
  assert.is(facts.empty, true);
  assert.is(facts.bytes, Buffer.concat(frames).length);
  assert.ok(printedAt(CONSOLE.people) !== '' && printedAt(CONSOLE.guard) !== '');
  await until('it is shown', () => s.t.console === printedAt(CONSOLE.people));
  await until('or told, of the guard', () => s.t.guard === printedAt(CONSOLE.guard));
  assert.is(s.t.firsts, 1);
  await s.courier.close();
  assert.is((await readLog(s.dir)).sequences.length, frames.length);
  s.end();
});

test('however the stream is cut, with other frames in between', async () => {
  const beat = encodeGoodbye({ reason: 'beat', message: '', lastSequence: 0n, term: 1 });
  const stream = Buffer.concat(frames.flatMap((frame) => [frame, beat]));
  for (const step of [1, 7, 1000, 4099]) {
    const s = await receiving();
    const limit = step === 1 ? 3000 : stream.length;
    for (let at = 0; at < limit; at += step) {
      s.peer.socket.write(stream.subarray(at, Math.min(at + step, limit)));
      if (at % (step * 50) === 0) await pause(0);
    }
    let whole = 0;
    for (let at = 0; ; whole++) {
      at += (frames[whole]?.length ?? stream.length) + beat.length;
      if (at > limit) break;
    }
    await until('acks', () => s.peer.acks.at(-1)?.sequence === BigInt(whole - 1));
    await until('the others', () => s.t.frames.length === whole);
    s.end();
  }
});

test('a batch of a megabyte, and many of them', async () => {
  const big = writeLog(VM_ID, [...producedRecords(9n, 600, 60_000)], 30);
  assert.ok(big.some((frame) => frame.length > 400_000));
  const s = await receiving({}, { dataBytes: 1 << 25 });
  for (const frame of big) s.peer.socket.write(frame);
  await until('the last ack', () => s.peer.acks.at(-1)?.sequence === BigInt(big.length - 1));
  await until('it is filled', () => s.ring.status().inPending === 600);
  s.end();
});

const base: DraftBatch = {
  vmId: VM_ID,
  sequence: 1n,
  recordBase: 7n,
  dataBase: 0n,
  prevChecksum: 0n,
  records: [],
};
const first = frames[0] as Buffer;
const header = readBatchHeader(first, 0);
const next: DraftBatch = {
  ...base,
  dataBase: header.dataBase + BigInt(header.dataBytes),
  prevChecksum: header.checksum,
  horizon: { icount: 1n << 40n, vtimeNs: 1n << 41n },
};
const flipped = Buffer.from(frames[1] as Buffer);
flipped[100] = (flipped[100] ?? 0) ^ 1;
const late = { icount: 0n, vtimeNs: 0n, kind: 6, channel: 0, len: 0, arg: 0n };

const WRONG: Record<string, [Buffer, RegExp]> = {
  'a gap': [writeBatch({ ...next, sequence: 7n }), /the primary sent batch 7 where batch 1 is due/],
  'another VM': [
    writeBatch({ ...next, vmId: Buffer.alloc(16, 9) }),
    /a batch of another VM \(0909/,
  ],
  'another term': [writeBatch({ ...next, term: 4 }), /a batch of term 4, this is term 1/],
  'another log': [writeBatch({ ...next, prevChecksum: 5n }), /it does not follow the one before/],
  'missing records': [writeBatch({ ...next, recordBase: 9n }), /from record 9, 7 is due/],
  'missing data': [
    writeBatch({ ...next, dataBase: 1n << 20n }),
    /does not follow: expected record 7/,
  ],
  'positions that go back': [
    writeBatch({ ...next, records: [late] }),
    /begins at icount 0, before icount/,
  ],
  'a flipped bit': [flipped, /the primary sent a damaged batch: /],
  garbage: [Buffer.from('220 smtp.example.com ready\r\n'), /no frame of ours.*220 smtp/],
};

for (const [what, [bytes, words]] of Object.entries(WRONG)) {
  test(`${what}: refused by name; what came before it counts`, async () => {
    const s = await receiving();
    s.peer.socket.write(Buffer.concat([first, bytes]));
    await until('it is lost', () => s.t.closed.length > 0);
    assert.match(s.t.closed[0] ?? '', words);
    assert.match(s.t.closed[0] ?? '', /^peer-protocol: /);
    await until('the peer sees it', () => s.peer.ended);
    assert.ok(s.peer.acks.every(({ sequence }) => sequence === 0n));
    assert.is(s.courier.receiveFacts().storedSequence, 0n);
    assert.is(s.ring.status().inPending, 7);
    s.end();
  });
}

test('half a batch, then the end: what was whole is there', async () => {
  const s = await receiving();
  s.peer.socket.end(Buffer.concat([first, (frames[1] as Buffer).subarray(0, 100)]));
  await until('it is told', () => s.t.closed.length > 0);
  assert.match(s.t.closed[0] ?? '', /^peer-lost: .*in the middle of a frame \(100 of \d+ bytes\)/);
  assert.is(s.ring.status().inPending, 7);
  assert.is(s.courier.receiveFacts().empty, true);
  s.end();
});

test('a full disk: no ack, said once, and the replay goes on', async () => {
  const fd = openSync('/dev/full', 'w');
  const log = {
    fd,
    dir: '/x',
    index: 1,
    offset: 200,
    bytesMax: 1 << 20,
    header: Buffer.alloc(200),
  };
  const s = await receiving({ log });
  closeSync(fd);
  s.peer.socket.write(Buffer.concat(frames.slice(0, 5)));
  await until('it is said', () => s.t.failed.length > 0);
  s.peer.socket.write(Buffer.concat(frames.slice(5)));
  await until('it is filled', () => s.ring.status().inPending === records.length);
  assert.equal(s.t.failed, ['ENOSPC /x/000001.udl']);
  assert.equal(s.peer.acks, []);
  s.end();
});

test('durability disk: acks come, and say that they are durable', async () => {
  const s = await receiving({ durable: true });
  s.peer.socket.write(Buffer.concat(frames));
  await until('the last ack', () => s.peer.acks.at(-1)?.sequence === BigInt(frames.length - 1));
  assert.ok(s.peer.acks.every(({ durable }) => durable));
  s.end();
});

test('closed, nothing is acknowledged or taken any more', async () => {
  const s = await receiving();
  s.peer.socket.write(Buffer.concat(frames.slice(0, 3)));
  await until('acks', () => s.peer.acks.at(-1)?.sequence === 2n);
  s.courier.closeReceive();
  s.peer.socket.write(Buffer.concat(frames.slice(3)));
  await pause(50);
  assert.is(s.peer.acks.at(-1)?.sequence, 2n);
  assert.is(s.courier.receiveFacts().lastSequence, 2n);
  assert.is(s.courier.receiveFacts().empty, true);
  s.end();
});

test('a QEMU that is behind: the peer has to wait, and nothing is lost', async () => {
  const many = [...producedRecords(8n, 6000, 900)];
  const log = writeLog(VM_ID, many, 20);
  const queue = { queueBytesHigh: 300_000, queueBytesLow: 100_000 };
  const s = await receiving(queue, { recordSlots: 64, dataBytes: 1 << 16 });
  // Sealing what QEMU echoes keeps OUT from being full.
  s.courier.ship({ ...SHIP, acksNeeded: 0, log: null });
  for (const frame of log) s.peer.socket.write(frame);
  await until('it is pressed', () => s.courier.receiveFacts().pressed);
  await pause(100);
  const { bytes, empty } = s.courier.receiveFacts();
  assert.is(empty, false);
  assert.ok(bytes < 300_000 + 600_000, `${bytes} bytes are held`);
  const heard = s.peer.far.heardMs();
  await pause(20);
  assert.ok(heard > 0);
  await startFakeQemu(s.ring, 'echo', many.length).done;
  await until('it is empty', () => s.courier.receiveFacts().empty);
  await s.courier.flush();
  assert.is(s.courier.shipFacts().records, many.length);
  assert.is(s.courier.receiveFacts().pressed, false);
  s.end();
});

test('destroyed in every state, at once', async () => {
  for (const state of ['new', 'linked', 'receiving', 'shipping', 'closing', 'closed']) {
    const ring = new ExitRing();
    const t = new TestCourier(ring);
    const peer = await HandPeer.make();
    if (state !== 'new') peer.giveTo(t);
    const file = new LogFile(join(tempDir('states'), 'log'), WRITER);
    const { start } = file;
    if (state === 'receiving') {
      t.courier.receive({ vmId: VM_ID, term: 1, durable: true, log: start });
      peer.socket.write(Buffer.concat(frames));
    } else if (state !== 'new' && state !== 'linked') {
      t.courier.ship({ ...SHIP, durable: true, log: start });
      void startFakeQemu(ring, 'produce', 5, 100, 100).done.catch(() => {});
    }
    if (state === 'receiving' || state === 'shipping') await pause(3);
    const flushed = t.courier.flush();
    const closed = state.startsWith('clos') ? t.courier.close() : null;
    if (state === 'closed') await closed;
    if (state === 'new') ring.destroy();
    t.courier.destroy();
    t.courier.destroy();
    ring.destroy();
    await closed;
    await flushed;
    assert.throws(() => t.courier.receive({ vmId: VM_ID, term: 1, durable: true, log: start }));
    assert.is(peer.far.send(Buffer.alloc(8)), true);
    peer.close();
    file.close();
  }
});

test('while a courier works nobody else does, and it is asked once only', async () => {
  const s = await receiving();
  const codeOf = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      return String((error as { code?: string }).code);
    }
    return 'none';
  };
  assert.is(
    codeOf(() => s.ring.onNotify(() => {})),
    'ERR_RING_STATE',
  );
  assert.is(
    codeOf(() => s.ring.fill(first, 0, first.length)),
    'ERR_RING_STATE',
  );
  assert.is(
    codeOf(() => new TestCourier(s.ring)),
    'ERR_RING_STATE',
  );
  const other = await HandPeer.make();
  assert.is(
    codeOf(() => other.giveTo(s.t)),
    'ERR_RING_STATE',
  );
  other.close();
  for (const native of [undefined, 0, {}, s.ring.native]) {
    assert.is(
      codeOf(() => s.courier.attach({ native } as never)),
      'ERR_INVALID_ARG_TYPE',
    );
  }
  assert.is(
    codeOf(() => s.courier.ship({ ...SHIP, vmId: Buffer.alloc(3), log: null })),
    'ERR_OUT_OF_RANGE',
  );
  assert.is(
    codeOf(() => s.courier.ship({ ...SHIP, seal: null as never, log: null })),
    'ERR_INVALID_ARG_TYPE',
  );
  s.end();
});

test('a worker that ends by force, with couriers at work', async () => {
  await endWorkers(
    ['terminate', 'exit'],
    `for (let n = 0; n < 3; n++) new addon.Courier(new addon.ExitRing(8, 4096), () => {}, 1000);
     up();`,
  );
});

test.after(() => {
  setTimeout(() => process.exit(), 2000).unref();
});

test.run();
