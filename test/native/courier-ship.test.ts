// SPDX-License-Identifier: Apache-2.0
/** The courier's sending side: what leaves, and when, whatever the backup says. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'uvu';
import * as assert from 'uvu/assert';
import { producedRecords } from '../../bench/stand-ins/batches.ts';
import { ackOf, HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { readLog, tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { CONSOLE, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { encodeGoodbye } from '../../src/wire/messages.ts';

const RECORDS = 60;
const END = BigInt(RECORDS) + 1n;
/** At a serial port; the records name ports that there are, and some that there are not. */
const printedAt = (port: number): string =>
  [...producedRecords(5n, RECORDS, 40)]
    .filter(({ kind, channel }) => kind === KIND.CHAR_OUT && channel === port)
    .map(({ payload }) => Buffer.from(payload ?? []).toString('latin1'))
    .join('');
const PRINTED = printedAt(CONSOLE.people);
const GUARD = printedAt(CONSOLE.guard);

/** A ring in which QEMU has ended after some records, and a courier that ships them. */
async function shipping(options: Partial<typeof SHIP> = {}, log?: LogFile['start'] | null) {
  const ring = new ExitRing();
  await startFakeQemu(ring, 'produce', 5, RECORDS, 40).done;
  const dir = join(tempDir('ship'), 'log');
  const file = new LogFile(dir, WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, ...options, log: log === undefined ? file.start : log });
  file.close();
  const commit = (): bigint => ring.status().commit;
  const end = async (): Promise<void> => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
  };
  const path = join(dir, '000001.udl');
  return { ring, dir, path, peer, t, courier: t.courier, commit, end };
}

const full = (): LogFile['start'] & { fd: number } => ({
  fd: openSync('/dev/full', 'w'),
  dir: '/dev/full',
  index: 1,
  offset: 200,
  bytesMax: 1 << 20,
  header: Buffer.alloc(200),
});

const gate = suite('output commit');

gate('nothing leaves before the ack and our own log, and then all of it', async () => {
  const s = await shipping();
  await pause(50);
  assert.is(s.commit(), 0n, 'no backup, no commit');
  assert.is(s.courier.shipFacts().sequence, 0n, 'and no batch that it would not get');
  s.peer.giveTo(s.t);
  await until('all of it is sent', () => s.courier.shipFacts().records === Number(END));
  await pause(30);
  assert.is(readBatchHeader(s.peer.batches[0] as Buffer, 0).sequence, 0n);
  assert.is(s.commit(), 0n);
  assert.ok(PRINTED !== '' && GUARD !== '', 'both ports have printed');
  assert.equal([s.t.console, s.t.guard], ['', '']);
  s.courier.detach(1);
  await until('detached, it leaves', () => s.commit() === END);
  await until('and is shown', () => s.t.console === PRINTED);
  await until('or told, of the guard', () => s.t.guard === GUARD);
  await s.end();
});

gate('the ack lets it leave', async () => {
  const ring = new ExitRing();
  const file = new LogFile(join(tempDir('ack'), 'log'), WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, log: file.start });
  peer.giveTo(t);
  await startFakeQemu(ring, 'produce', 5, RECORDS, 40).done;
  await until('all of it is sent', () => {
    const last = peer.batches.at(-1);
    return last !== undefined && readBatchHeader(last, 0).recordEnd === END;
  });
  await pause(30);
  assert.is(ring.status().commit, 0n);
  assert.is(t.console, '');
  // One after the other.
  for (const batch of peer.batches) {
    const { sequence, recordEnd } = readBatchHeader(batch, 0);
    peer.ack({ sequence, recordEnd });
    await until(`commit ${recordEnd}`, () => ring.status().commit === recordEnd);
  }
  await until('it is shown', () => t.console === PRINTED);
  const last = readBatchHeader(peer.batches.at(-1) as Buffer, 0);
  // The horizon may have moved on since.
  assert.ok(t.courier.shipFacts().sequence >= last.sequence + 1n);
  assert.is(t.courier.shipFacts().ackedSequence, last.sequence);
  await until('told', () => t.progresses > 0);
  t.courier.destroy();
  assert.is(t.courier.shipFacts().ackedSequence, last.sequence, 'facts stay');
  ring.destroy();
  peer.close();
  file.close();
});

gate('a log that cannot be written stops outputs for good; detached, they leave', async () => {
  const log = full();
  const s = await shipping({}, log);
  closeSync(log.fd);
  s.peer.giveTo(s.t);
  await until('it is said once', () => s.t.failed.length === 1);
  assert.match(s.t.failed[0] ?? '', 'ENOSPC /dev/full/000001.udl');
  s.courier.reopenGate();
  await pause(30);
  assert.is(s.commit(), 0n);
  s.courier.detach(1);
  await until('it leaves', () => s.commit() === END);
  assert.is(s.t.failed.length, 1);
  await s.end();
});

gate('a recorder needs its log only', async () => {
  const s = await shipping({ acksNeeded: 0 });
  await until('it leaves', () => s.commit() === END && s.t.console === PRINTED);
  await s.courier.flush();
  await s.courier.close();
  const { sequences } = await readLog(s.dir);
  assert.is(BigInt(sequences.length), s.courier.shipFacts().sequence);
  assert.is(readFileSync(s.path).length, s.courier.shipFacts().logBytes);
  await s.end();
});

gate('a recorder whose disk is full lets nothing leave', async () => {
  const log = full();
  const s = await shipping({ acksNeeded: 0 }, log);
  closeSync(log.fd);
  await until('it is said', () => s.t.failed.length === 1);
  await pause(30);
  assert.is(s.commit(), 0n);
  assert.is(s.t.console, '');
  await s.courier.close();
  await s.end();
});

gate('a survivor without a log goes on', async () => {
  const s = await shipping({}, null);
  s.courier.detach(1);
  await until('it leaves', () => s.commit() === END);
  await s.courier.close();
  await s.end();
});

gate('closed, nothing leaves, whatever is acked; reopened, it does', async () => {
  const s = await shipping({ acksNeeded: 0, seal: { ...SHIP.seal, batchUs: 1 } }, null);
  s.courier.closeGate();
  s.courier.detach(1);
  await pause(30);
  const before = s.commit();
  s.courier.reopenGate();
  await until('it leaves', () => s.commit() === END);
  assert.ok(before <= END);
  await s.end();
});

gate('durability disk: an ack must be durable, and so must be our own log', async () => {
  const s = await shipping({ durable: true, acksNeeded: 0 });
  await until('synced, it leaves', () => s.commit() === END);
  await s.courier.close();
  await s.end();
});

gate.run();

const LIES: Record<string, [Buffer | Buffer[], RegExp]> = {
  'from the future': [
    ackOf({ sequence: 1_000_000n, recordEnd: 1n }),
    /peer-protocol: the backup acknowledged batch 1000000, which was never sent \(the last one sent is \d+\)/,
  ],
  'of another end': [
    ackOf({ sequence: 0n, recordEnd: 12345n }),
    /acknowledged batch 0 as ending at record 12345, it ends at \d+/,
  ],
  'of another term': [ackOf({ term: 9 }), /acknowledged in term 9, this is term 1/],
  damaged: [
    (() => {
      const bytes = ackOf({});
      bytes[60] = 1;
      return bytes;
    })(),
    /peer-protocol: the peer sent a damaged ack: message checksum/,
  ],
  garbage: [
    Buffer.from('I am your backup, honestly'),
    /peer-protocol: the peer sent no frame of ours: frame magic.*I am your backup/,
  ],
};

const acks = suite('acks');

/** A backup that says that when it has a batch is lost, by name, and nothing leaves. */
async function loses(say: (peer: HandPeer) => void, words: RegExp): Promise<void> {
  const ring = new ExitRing();
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  const file = new LogFile(join(tempDir('lie'), 'log'), WRITER);
  t.courier.ship({ ...SHIP, log: file.start });
  peer.giveTo(t);
  await startFakeQemu(ring, 'produce', 5, RECORDS, 40).done;
  await until('a batch', () => peer.batches.length > 0);
  say(peer);
  await until('it is lost', () => t.closed.length > 0);
  assert.match(t.closed[0] ?? '', words);
  await until('the backup sees it', () => peer.ended);
  assert.is(t.closed.length, 1);
  assert.is(ring.status().commit, 0n);
  t.courier.destroy();
  ring.destroy();
  peer.close();
  file.close();
}

for (const [what, [bytes, words]] of Object.entries(LIES)) {
  acks(`an ack ${what} loses the backup, by name, and nothing leaves`, () =>
    loses((peer) => {
      for (const piece of [bytes].flat()) peer.socket.write(piece);
    }, words),
  );
}

acks('an ack of as many bytes, which are not these', () =>
  loses((peer) => {
    const { sequence, recordEnd, checksum } = readBatchHeader(peer.batches[0] as Buffer, 0);
    peer.ack({ sequence, recordEnd, batchChecksum: checksum ^ 1n });
  }, /acknowledged batch 0 with checksum [0-9a-f]{16}, it has/),
);

acks('not durable where it must be', async () => {
  const ring = new ExitRing();
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, durable: true, log: null });
  peer.giveTo(t);
  await startFakeQemu(ring, 'produce', 5, RECORDS, 40).done;
  await until('a batch', () => peer.batches.length > 0);
  peer.ack({});
  await until('it is lost', () => t.closed.length > 0);
  assert.match(t.closed[0] ?? '', 'the ack is not durable, durability is "disk"');
  ring.destroy();
  peer.close();
});

acks.run();

const links = suite('connection');

links('bytes that came before the hand-over are read first, cut anywhere', async () => {
  const goodbye = encodeGoodbye({ reason: 'x', message: 'y', lastSequence: 1n, term: 1 });
  for (const cut of [0, 1, 16, 40, goodbye.length]) {
    const ring = new ExitRing();
    const peer = await HandPeer.make();
    const t = new TestCourier(ring);
    peer.start(t);
    const before = peer.far.heardMs();
    if (cut > 0) peer.socket.write(goodbye.subarray(0, cut));
    await until('they are read', () => cut === 0 || peer.far.heardMs() > before);
    peer.giveTo(t);
    await pause(5);
    peer.socket.write(Buffer.concat([goodbye.subarray(cut), goodbye]));
    await until('both come', () => t.frames.length === 2);
    assert.ok(t.frames.every((frame) => frame.equals(goodbye)));
    assert.ok(Math.abs(peer.far.heardMs() - Number(process.hrtime.bigint()) / 1e6) < 1000);
    ring.destroy();
    peer.close();
  }
});

links('the end is told once, after what came before it, with what was unfinished', async () => {
  const goodbye = encodeGoodbye({ reason: 'x', message: 'y', lastSequence: 1n, term: 1 });
  for (const [rest, words] of [
    [0, /^peer-lost: the peer closed the connection$/],
    [5, /in the middle of a frame prefix \(5 of 16 bytes\)$/],
    [40, /in the middle of a frame \(40 of \d+ bytes\)$/],
  ] as const) {
    const ring = new ExitRing();
    const peer = await HandPeer.make();
    const t = new TestCourier(ring);
    peer.giveTo(t);
    peer.socket.end(Buffer.concat([goodbye, goodbye.subarray(0, rest)]));
    await until('it is told', () => t.closed.length > 0);
    assert.is(t.frames.length, 1);
    assert.match(t.closed[0] ?? '', words);
    await pause(20);
    assert.is(t.closed.length, 1);
    ring.destroy();
    peer.close();
  }
});

links('what is queued is sent before the end', async () => {
  const ring = new ExitRing();
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  peer.giveTo(t);
  const message = 'x'.repeat(60_000);
  const goodbye = encodeGoodbye({ reason: 'x', message, lastSequence: 1n, term: 1 });
  peer.socket.pause();
  let room = true;
  let sent = 0;
  while (room && sent < 400) {
    room = peer.far.send(goodbye);
    sent += 1;
  }
  assert.is(room, false, 'a long queue is told');
  peer.far.end();
  peer.socket.resume();
  await t.courier.close();
  await until('all of it came', () => peer.frames.length === sent && peer.ended);
  ring.destroy();
  peer.close();
});

links('dropped, the peer sees the end at once, and nothing is told', async () => {
  const ring = new ExitRing();
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  peer.giveTo(t);
  peer.far.drop();
  await until('it ends', () => peer.ended);
  assert.equal(t.closed, []);
  assert.ok(peer.far.send(Buffer.alloc(8)));
  ring.destroy();
  peer.close();
});

links.run();

test('files roll, are whole, and no larger than they may be', async () => {
  const ring = new ExitRing({ recordSlots: 256, dataBytes: 1 << 16 });
  const dir = join(tempDir('roll'), 'log');
  const file = new LogFile(dir, { ...WRITER, segmentBytesMax: 20_000 });
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, acksNeeded: 0, log: file.start });
  file.close();
  await startFakeQemu(ring, 'produce', 7, 3000, 200).done;
  await t.courier.flush();
  await t.courier.close();
  const { sequences, reader } = await readLog(dir);
  assert.is(BigInt(sequences.length), t.courier.shipFacts().sequence);
  assert.is(reader.last?.recordEnd, 3001n);
  assert.ok((reader.end?.file ?? '') > join(dir, '000001.udl'), 'there are more files than one');
  assert.equal(t.failed, []);
  ring.destroy();
});

test('a file that cannot be begun is a failed write', async () => {
  const { chmodSync, mkdirSync } = await import('node:fs');
  const ring = new ExitRing({ recordSlots: 64, dataBytes: 1 << 15 });
  const dir = join(tempDir('begin'), 'log');
  const file = new LogFile(dir, { ...WRITER, segmentBytesMax: 5000 });
  mkdirSync(join(dir, '000002.udl'));
  chmodSync(dir, 0o755);
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, acksNeeded: 0, log: file.start });
  file.close();
  const fake = startFakeQemu(ring, 'produce', 7, 3000, 200);
  fake.done.catch(() => {});
  await until('it is said', () => t.failed.length > 0);
  assert.match(t.failed[0] ?? '', /EEXIST .*000002\.udl/);
  await t.courier.close();
  fake.child.kill('SIGKILL');
  ring.destroy();
});

test('a QEMU that breaks the rules of the ring is found out', async () => {
  const ring = new ExitRing({ recordSlots: 64, dataBytes: 4096 });
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, acksNeeded: 0, log: null });
  await startFakeQemu(ring, 'break', 'kind').done;
  await until('it is said', () => t.broken.length > 0);
  assert.match(t.broken[0] ?? '', /unknown kind 77/);
  assert.is(ring.status().commit, 0n);
  ring.destroy();
});

test.after(() => {
  setTimeout(() => process.exit(), 2000).unref();
});

test.run();
