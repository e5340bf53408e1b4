// SPDX-License-Identifier: Apache-2.0
/** A backup that joins a running VM: what it gets, from files and live. */
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { someFrames, tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, type ShipFrom } from '../../native/kvm-exit-log/index.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { segmentName } from '../../src/log/segment.ts';
import { encodeGoodbye } from '../../src/wire/messages.ts';
import {
  alone,
  codeOf,
  MIB,
  middle,
  newest,
  oldest,
  type Stored,
  sameAsFiles,
  stored,
} from '../lib/lone-vm.ts';

const again = suite('a connection after another');

again('each gets what is sealed from its time on, in the term of its time', async () => {
  const s = await alone();
  const one = await s.join();
  one.socket.resume();
  await until('batches', () => one.batches.length > 5);
  const { sequence, recordEnd } = readBatchHeader(one.batches[3] as Buffer, 0);
  const executed = { point: atIcount(77n), vtimeNs: 78n };
  one.ack({ sequence, recordEnd, executed, inPending: 3n });
  await until('the ack', () => icountOf(s.facts().executed.point) === 77n);
  assert.is(s.facts().backupPending, 3n);
  const early = await HandPeer.make();
  assert.is(
    codeOf(() => early.giveTo(s.t)),
    'ERR_RING_STATE',
  );
  early.close();
  one.socket.destroy();
  await until('it is lost', () => s.t.closed.length === 1);

  s.courier.detach(2);
  const two = await s.join();
  const from = s.facts().sequence;
  assert.is(icountOf(s.facts().executed.point), 0n, 'nothing is known of this one yet');
  assert.is(s.facts().backupPending, 0n);
  two.socket.resume();
  await until('batches', () => two.batches.length > 5);
  const first = oldest(two);
  assert.ok(first.sequence <= from && first.sequence > sequence, `from ${first.sequence} on`);
  assert.is(first.term, 2);
  two.ack({ sequence: first.sequence, recordEnd: first.recordEnd, term: 2 });
  await until('the ack', () => s.facts().ackedSequence >= first.sequence);
  assert.is(s.t.closed.length, 1);
  two.ack({ sequence: first.sequence, recordEnd: first.recordEnd, term: 1 });
  await until('it is lost', () => s.t.closed.length === 2);
  assert.match(s.t.closed[1] ?? '', 'acknowledged in term 1, this is term 2');
  s.end();
});

again('what the one before had still to tell is not told of the next', async () => {
  const s = await alone();
  const goodbye = encodeGoodbye({ reason: 'x', message: 'y', lastSequence: 1n, term: 1 });
  for (let round = 0; round < 5; round++) {
    const old = await s.join();
    const next = await HandPeer.make();
    old.socket.write(goodbye);
    old.socket.destroy();
    // The courier reads it, and its end, while JavaScript looks away.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    old.far.drop();
    next.giveTo(s.t);
    await until('batches', () => next.batches.length > 3);
    assert.equal(s.t.frames, []);
    assert.equal(s.t.closed, []);
    next.far.drop();
    await until('the end', () => next.ended);
    next.close();
  }
  s.end();
});

again('where outputs wait for acks, a peer that lacks their batches is refused', async () => {
  const ring = new ExitRing();
  const file = new LogFile(join(tempDir('owed'), 'log'), WRITER);
  const t = new TestCourier(ring);
  t.courier.ship({ ...SHIP, log: file.start });
  const one = await HandPeer.make();
  one.giveTo(t);
  const end = 10_001n; // more than two batches
  await startFakeQemu(ring, 'produce', 5, 10_000, 40).done;
  await until('all is sent', () => t.courier.shipFacts().records === Number(end));
  const first = oldest(one);
  one.ack({ sequence: first.sequence, recordEnd: first.recordEnd });
  await until('the first leaves', () => ring.status().commit === first.recordEnd);
  one.far.drop();

  const two = await HandPeer.make();
  const { sequence } = t.courier.shipFacts();
  const held = first.sequence + 1n;
  for (const from of [undefined, { sequence, segment: 1 }, { sequence: held + 1n, segment: 1 }]) {
    assert.is(
      codeOf(() => two.giveTo(t, from)),
      'ERR_RING_STATE',
    );
  }
  await pause(30);
  assert.is(ring.status().commit, first.recordEnd);
  two.giveTo(t, { sequence: held, segment: 1 });
  await until('the rest', () => newest(two).recordEnd === end);
  await pause(30);
  assert.is(ring.status().commit, first.recordEnd, 'sent, and not yet acked');
  const got = newest(two);
  two.ack({ sequence: got.sequence, recordEnd: got.recordEnd });
  await until('it leaves', () => ring.status().commit === end);
  t.courier.destroy();
  ring.destroy();
  one.close();
  two.close();
  file.close();
});

again('to a survivor nothing comes of the log that it received', async () => {
  const frames = someFrames(6);
  const ring = new GuestRing();
  const file = new LogFile(join(tempDir('received'), 'log'), WRITER);
  const t = new TestCourier(ring);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start });
  const primary = await HandPeer.make();
  primary.giveTo(t);
  primary.socket.write(Buffer.concat(frames.slice(0, 3)));
  await until('acks', () => primary.acks.at(-1)?.sequence === 2n);
  primary.socket.destroy();
  await until('it is lost', () => t.closed.length === 1);

  ring.take(1n << 40n);
  ring.goesLive();
  t.courier.ship({ ...SHIP, term: 2, log: 'received' });
  t.courier.detach(2);
  const joining = await HandPeer.make();
  joining.giveTo(t, { sequence: 0n, segment: 1 });
  const { inPending } = ring.status();
  joining.socket.write(frames[3] as Buffer);
  await pause(50);
  assert.is(t.courier.receiveFacts().lastSequence, 2n);
  assert.is(ring.status().inPending, inPending);
  assert.equal(joining.acks, []);
  t.courier.destroy();
  ring.destroy();
  for (const peer of [primary, joining]) peer.close();
  file.close();
});

again.run();

const catchUp = suite('catching up');

catchUp('from the files while the guest runs, then live: the same bytes, each once', async () => {
  const s = await alone({ payloadMax: 60_000, pauseUs: 800, segmentBytesMax: 2 * MIB });
  await s.logged(6 * MIB);
  const { sequence, segment } = await middle(s.dir);
  assert.ok(segment > 1);
  const peer = await s.join({ sequence, segment });
  // It reads nothing, and nobody waits for it.
  await s.logged(36 * MIB);
  assert.is(s.facts().catchingUp, true);
  const unsent = (await stored(s.dir)).filter((batch) => batch.sequence >= s.facts().nextSend);
  const unsentBytes = unsent.reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.ok(unsentBytes > 12 * MIB, `${unsentBytes} bytes are in files only`);
  assert.ok(s.commit() > 0n);

  peer.socket.resume();
  await s.caughtUp();
  const live = s.facts().sequence;
  await until('it gets live ones', () => s.facts().sequence > live + 20n && !s.facts().catchingUp);
  assert.is(s.facts().nextSend, s.facts().sequence);
  await s.quiet();
  await sameAsFiles(peer, s.dir, sequence);
  assert.ok(readdirSync(s.dir).length > 15);
  assert.equal(s.t.closed, []);
  s.end();
});

catchUp('from a file before, from the first batch, and from the next one', async () => {
  const s = await alone();
  await s.logged(MIB);
  const far = (await middle(s.dir)).sequence;
  const cases: [() => bigint, number][] = [
    [() => far, 1],
    [() => 0n, 1],
    [() => s.facts().sequence, 1],
  ];
  const peers: [HandPeer, bigint, bigint][] = [];
  for (const [sequenceOf, segment] of cases) {
    const sequence = sequenceOf();
    const peer = await s.join({ sequence, segment });
    peer.socket.resume();
    await s.caughtUp();
    const enough = s.facts().sequence + 20n;
    await until('live ones', () => s.facts().sequence > enough && !s.facts().catchingUp);
    await until('they come', () => newest(peer).sequence >= enough);
    peer.far.drop();
    await until('it sees the end', () => peer.ended);
    peers.push([peer, sequence, BigInt(peer.batches.length)]);
  }
  await s.quiet(); // a batch is sent before it is written
  const all = await stored(s.dir);
  for (const [peer, sequence, count] of peers) {
    const want = all.slice(Number(sequence), Number(sequence + count));
    assert.ok(Buffer.concat(peer.batches).equals(Buffer.concat(want.map(({ bytes }) => bytes))));
  }
  s.end();
});

catchUp('a peer that falls behind gets the rest from the files', async () => {
  const s = await alone({ payloadMax: 60_000, pauseUs: 400, segmentBytesMax: MIB });
  const before = s.facts().sequence;
  const peer = await s.join();
  await until('it is behind', () => s.facts().catchingUp, 30_000);
  const behind = s.facts().logBytes;
  await s.logged(behind + 8 * MIB);
  for (let round = 0; round < 3; round++) {
    peer.socket.resume();
    await s.caughtUp();
    peer.socket.pause();
    await until('it is behind', () => s.facts().catchingUp, 30_000);
  }
  peer.socket.resume();
  await s.quiet();
  const from = oldest(peer).sequence;
  assert.ok(from >= before, `from ${from} on`);
  await sameAsFiles(peer, s.dir, from);
  s.end();
});

catchUp('an ack of what is sealed and not yet sent is a lie', async () => {
  const s = await alone({ payloadMax: 60_000, pauseUs: 400, segmentBytesMax: 2 * MIB });
  await s.logged(24 * MIB);
  const peer = await s.join({ sequence: 0n, segment: 1 });
  await until('something is sent', () => s.facts().nextSend > 3n);
  peer.ack({ sequence: 2n, recordEnd: 12345n });
  await until('what left alone is acked', () => s.facts().ackedSequence === 2n);
  assert.equal(s.t.closed, []);
  await pause(50);
  const { nextSend, sequence } = s.facts();
  assert.ok(nextSend < sequence - 1n, `${nextSend} of ${sequence}`);
  peer.ack({ sequence: sequence - 1n, recordEnd: 1n });
  await until('it is lost', () => s.t.closed.length > 0);
  assert.match(s.t.closed[0] ?? '', `batch ${sequence - 1n}, which was never sent`);
  s.end();
});

type Break = (dir: string, at: Stored) => void;
const path = (dir: string, { segment }: Stored): string => join(dir, segmentName(segment));
const BROKEN: Record<string, [Break, RegExp]> = {
  deleted: [(dir, at) => rmSync(path(dir, at)), /: No such file or directory: .*\.udl$/],
  'cut short': [
    (dir, at) => truncateSync(path(dir, at), readFileSync(path(dir, at)).length - 10),
    /\.udl, byte \d+: the file ends in the middle of a frame/,
  ],
  'of other bytes': [
    (dir, at) => writeFileSync(path(dir, at), 'no log'.repeat(1000)),
    /\.udl, byte 0: frame magic: expected/,
  ],
  'of other batches': [
    (dir, at) => writeFileSync(path(dir, at), readFileSync(join(dir, segmentName(at.segment + 1)))),
    /\.udl, byte \d+: batch \d+ where batch \d+ should be/,
  ],
};

for (const [what, [breakIt, words]] of Object.entries(BROKEN)) {
  catchUp(`a file ${what}: the backup is lost, by name, and nothing else`, async () => {
    const s = await alone();
    await s.logged(MIB);
    const at = await middle(s.dir);
    breakIt(s.dir, at);
    const peer = await s.join({ sequence: 0n, segment: 1 });
    peer.socket.resume();
    await until('it is lost', () => s.t.closed.length > 0);
    assert.match(
      s.t.closed[0] ?? '',
      /^peer-lost: the log that the backup needs from batch \d+ on/,
    );
    assert.match(s.t.closed[0] ?? '', words);
    await until('it sees the end', () => peer.ended);
    const { sequence } = s.facts();
    const commit = s.commit();
    await until('the guest runs on', () => s.facts().sequence > sequence + 20n);
    await until('and its outputs leave', () => s.commit() > commit);
    assert.equal(s.t.broken, []);
    assert.equal(s.t.failed, []);
    // From behind the damage another one joins.
    const next = { sequence, segment: at.segment + 1 };
    const other = await s.join(next);
    other.socket.resume();
    await s.caughtUp();
    await until('it has them', () => newest(other).sequence > sequence + 10n);
    assert.is(oldest(other).sequence, sequence);
    assert.is(s.t.closed.length, 1);
    s.end();
  });
}

catchUp(
  'where there is nothing to catch up from it is refused, and nothing has changed',
  async () => {
    const from = { sequence: 0n, segment: 1 };
    const ring = new ExitRing();
    const t = new TestCourier(ring);
    const peer = await HandPeer.make();
    const code = (how: unknown): string => codeOf(() => peer.giveTo(t, how as ShipFrom));
    assert.is(code(from), 'ERR_RING_STATE', 'nothing is shipped');
    assert.is(
      codeOf(() => t.courier.protect()),
      'ERR_RING_STATE',
    );
    t.courier.ship({ ...SHIP, log: null });
    assert.is(code(from), 'ERR_RING_STATE', 'no log');
    assert.is(
      codeOf(() => t.courier.protect()),
      'ERR_RING_STATE',
    );
    assert.is(code({ sequence: 0, segment: 1 }), 'ERR_INVALID_ARG_TYPE');
    assert.is(code({ sequence: 0n, segment: 1.5 }), 'ERR_OUT_OF_RANGE');
    assert.is(code(null), 'ERR_INVALID_ARG_TYPE');
    t.courier.destroy();
    ring.destroy();

    const s = await alone();
    await s.logged(10_000);
    const beyond = { sequence: s.facts().sequence + 1000n, segment: 1 };
    assert.is(
      codeOf(() => peer.giveTo(s.t, beyond)),
      'ERR_OUT_OF_RANGE',
    );
    assert.is(
      codeOf(() => s.courier.detach(0)),
      'ERR_OUT_OF_RANGE',
    );
    peer.giveTo(s.t, from);
    await until('it comes', () => peer.batches.length > 10);
    s.end();
    peer.close();
  },
);

catchUp('a log that could not be written is none to catch up from', async () => {
  const s = await alone({ segmentBytesMax: 20_000 });
  await s.logged(50_000);
  const next = (await stored(s.dir)).at(-1)?.segment ?? 0;
  const peer = await s.join({ sequence: 0n, segment: 1 });
  for (let n = next + 1; n < next + 20; n++) {
    writeFileSync(join(s.dir, segmentName(n)), 'in the way', { flag: 'a' });
  }
  await until('it is said', () => s.t.failed.length > 0);
  assert.match(s.t.failed[0] ?? '', /EEXIST/);
  // What was sealed when it failed is in no file: only a peer that had it all is whole.
  if (!s.facts().catchingUp) peer.far.drop();
  else await until('it is lost', () => s.t.closed.length > 0);
  const { sequence } = s.facts();
  await until('the guest runs on', () => s.facts().sequence > sequence + 20n);
  const other = await HandPeer.make();
  assert.is(
    codeOf(() => other.giveTo(s.t, { sequence: 0n, segment: 1 })),
    'ERR_RING_STATE',
  );
  other.close();
  peer.close();
  s.end();
});

catchUp.run();
