// SPDX-License-Identifier: Apache-2.0
/** When the outputs of a VM that a backup has joined wait for it, terms, and its side of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { producedRecords, writeBatch, writeLog } from '../../bench/stand-ins/batches.ts';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { readLog, tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, type ReceiveStart } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { readSegmentHeader, segmentName } from '../../src/log/segment.ts';
import {
  alone,
  codeOf,
  MIB,
  middle,
  newest,
  type Stored,
  sameAsFiles,
  stored,
} from '../lib/lone-vm.ts';

const protect = suite('protected again');

protect('what is sealed from then on waits for acks, and they let it leave', async () => {
  const s = await alone();
  await s.logged(MIB / 2);
  const from = await middle(s.dir);
  const peer = await s.join(from);
  peer.socket.resume();
  await s.caughtUp();
  await until('it leaves alone', () => s.facts().held === 0 && s.commit() > from.recordEnd);
  const before = s.facts().sequence;
  s.courier.protect();
  const after = s.facts().sequence;
  await until('outputs are held', () => s.facts().held > 20);
  const { sequence, held } = s.facts();
  const firstHeld = sequence - BigInt(held);
  assert.ok(before <= firstHeld && firstHeld <= after, `${before} ${firstHeld} ${after}`);
  const ended = (at: bigint): bigint =>
    readBatchHeader(peer.batches[Number(at - from.sequence)] as Buffer, 0).recordEnd;
  await until('it has got them', () => newest(peer).sequence >= sequence - 1n);
  const commit = s.commit();
  assert.is(commit, ended(firstHeld - 1n));

  // An ack of what has left already lets nothing more leave.
  peer.ack({ sequence: from.sequence, recordEnd: from.recordEnd });
  await until('the ack', () => s.facts().ackedSequence === from.sequence);
  const left = firstHeld - 1n;
  peer.ack({ sequence: left, recordEnd: ended(left) });
  await until('the ack', () => s.facts().ackedSequence === left);
  await until('sealing goes on', () => s.facts().sequence > sequence + 20n);
  assert.is(s.commit(), commit);
  assert.is(s.facts().allAcked, false);

  const some = firstHeld + 9n;
  peer.ack({ sequence: some, recordEnd: ended(some) });
  await until('ten batches leave', () => s.commit() === ended(some));
  assert.is(s.facts().sequence - BigInt(s.facts().held), some + 1n);

  await s.quiet();
  await sameAsFiles(peer, s.dir, from.sequence);
  assert.is(s.facts().allAcked, false);
  const all = newest(peer);
  assert.is(all.sequence, s.facts().sequence - 1n);
  peer.ack({ sequence: all.sequence, recordEnd: all.recordEnd });
  await until('all of it leaves', () => s.commit() === all.recordEnd && s.facts().held === 0);
  assert.is(s.facts().allAcked, true);
  assert.equal(s.t.closed, []);
  s.end();
});

protect('a lie about what is held is found, and what left alone is never held', async () => {
  const s = await alone();
  await s.logged(MIB / 4);
  const peer = await s.join({ sequence: 0n, segment: 1 });
  peer.socket.resume();
  await s.caughtUp();
  s.courier.protect();
  await until('outputs are held', () => s.facts().held > 3);
  const commit = s.commit();
  const sequence = s.facts().sequence - 2n;
  peer.ack({ sequence, recordEnd: 1n });
  await until('it is lost', () => s.t.closed.length > 0);
  assert.match(s.t.closed[0] ?? '', `batch ${sequence} as ending at record 1, it ends at`);
  // Lost, nothing leaves before somebody has decided; detached, all of it does.
  await pause(50);
  assert.is(s.commit(), commit);
  s.courier.detach(2);
  await until('it leaves', () => s.facts().held === 0 && s.commit() > commit);

  // And once more: another joins, in the new term.
  const next = s.facts().sequence - 5n;
  const other = await s.join({ sequence: next, segment: 1 });
  other.socket.resume();
  await s.caughtUp();
  s.courier.protect();
  await until('outputs are held', () => s.facts().held > 3);
  await s.quiet();
  await sameAsFiles(other, s.dir, next);
  const all = newest(other);
  other.ack({ sequence: all.sequence, recordEnd: all.recordEnd, term: 2 });
  await until('all of it leaves', () => s.commit() === all.recordEnd && s.facts().allAcked);
  s.end();
});

protect('while it still catches up nothing is sealed, until it has', async () => {
  const s = await alone({ payloadMax: 60_000, pauseUs: 400, segmentBytesMax: 2 * MIB });
  await s.logged(24 * MIB);
  const peer = await s.join({ sequence: 0n, segment: 1 });
  s.courier.protect();
  const { sequence } = s.facts();
  await pause(150);
  assert.is(s.facts().sequence, sequence);
  assert.is(s.facts().catchingUp, true);
  peer.socket.resume();
  await until('it goes on', () => s.facts().sequence > sequence + 3n, 30_000);
  assert.ok(s.facts().held > 3);
  await s.quiet();
  await sameAsFiles(peer, s.dir, 0n);
  s.end();
});

protect('behind a closed gate: what was sealed alone leaves when it opens, no more', async () => {
  const s = await alone();
  await s.logged(MIB / 8);
  const peer = await s.join();
  peer.socket.resume();
  s.courier.closeGate();
  await until('it is held', () => s.facts().held > 20);
  const before = s.facts().sequence;
  s.courier.protect();
  const after = s.facts().sequence;
  await until('more is held', () => s.facts().sequence > after + 20n);
  const commit = s.commit();
  s.courier.reopenGate();
  await until('it leaves', () => s.commit() > commit);
  const { sequence, held } = s.facts();
  const firstHeld = sequence - BigInt(held);
  assert.ok(before <= firstHeld && firstHeld <= after, `${before} ${firstHeld} ${after}`);
  await pause(30);
  assert.is(s.commit(), (await stored(s.dir))[Number(firstHeld) - 1]?.recordEnd);
  s.end();
});

protect('a recorder has nobody to wait for', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const file = new LogFile(join(tempDir('recorder'), 'log'), WRITER);
  t.courier.ship({ ...SHIP, acksNeeded: 0, log: file.start });
  file.close();
  assert.is(
    codeOf(() => t.courier.protect()),
    'ERR_RING_STATE',
  );
  await startFakeQemu(ring, 'produce', 5, 60, 40).done;
  await until('it leaves', () => ring.status().commit === 61n);
  t.courier.destroy();
  t.courier.protect();
  ring.destroy();
});

protect.run();

const terms = suite('terms');

terms('a detached log goes on in the new term: batches, and files begun in it', async () => {
  const s = await alone();
  await s.logged(MIB / 4);
  s.courier.detach(5);
  await s.logged(MIB / 2);
  await s.quiet();
  const all = await stored(s.dir);
  const turn = all.findIndex(({ term }) => term === 5);
  assert.ok(turn > 0 && all.slice(turn).every(({ term }) => term === 5));
  assert.ok(all.slice(0, turn).every(({ term }) => term === 1));
  const begun = new Map(all.map((batch) => [batch.segment, batch]).reverse() as [number, Stored][]);
  for (const [segment, { term, sequence }] of begun) {
    const header = readSegmentHeader(headerOf(s.dir, segment));
    assert.equal([header.term, header.firstSequence], [term, sequence]);
  }
  s.end();
});

function headerOf(dir: string, segment: number): Buffer {
  const bytes = readFileSync(join(dir, segmentName(segment)));
  return bytes.subarray(0, 16 + bytes.readUInt32LE(8));
}

terms.run();

const records = [...producedRecords(3n, 300, 60)];
const frames = writeLog(VM_ID, records, 7);
const AT = 20;
const due = readBatchHeader(frames[AT] as Buffer, 0);
const START: ReceiveStart = { ...due };

/** A backup whose replay begins in the middle of the log. */
async function receiving() {
  const ring = new ExitRing();
  ring.startAt(due.recordBase, due.dataBase);
  const dir = join(tempDir('middle'), 'log');
  const file = new LogFile(dir, { ...WRITER, firstSequence: due.sequence });
  const t = new TestCourier(ring);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start, start: START });
  file.close();
  const peer = await HandPeer.make();
  peer.giveTo(t);
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
  };
  return { ring, dir, t, peer, courier: t.courier, end };
}

const middleOf = suite('a log that begins in the middle');

middleOf('the batch that is due is the first, and all goes on from there', async () => {
  const s = await receiving();
  await pause(30);
  const none = s.courier.receiveFacts();
  assert.equal([none.lastSequence, none.storedSequence, s.t.firsts], [null, null, 0]);
  assert.equal(s.peer.acks, []);
  s.peer.socket.write(Buffer.concat(frames.slice(AT)));
  const last = readBatchHeader(frames.at(-1) as Buffer, 0);
  await until('the last ack', () => s.peer.acks.at(-1)?.sequence === last.sequence);
  assert.ok(s.peer.acks.every(({ sequence }) => sequence >= due.sequence));
  assert.is(s.peer.acks.at(-1)?.recordEnd, last.recordEnd);
  await until('it is filled', () => s.ring.status().inPending === records.length - AT * 7);
  const facts = s.courier.receiveFacts();
  assert.equal([facts.lastSequence, facts.storedSequence], [last.sequence, last.sequence]);
  assert.is(s.t.firsts, 1);
  await s.courier.close();
  const { sequences } = await readLog(s.dir);
  assert.equal([sequences[0], sequences.length], [due.sequence, frames.length - AT]);
  s.end();
});

const same = { ...due, vmId: VM_ID, records: [], horizon: { icount: 1n << 40n, vtimeNs: 0n } };
const WRONG: Record<string, [Buffer, RegExp]> = {
  'the log from power-on': [frames[0] as Buffer, /batch 0 where batch 20 is due/],
  'the one before': [frames[AT - 1] as Buffer, /batch 19 where batch 20 is due/],
  'the one after': [frames[AT + 1] as Buffer, /batch 21 where batch 20 is due/],
  'that of another log': [
    writeBatch({ ...same, prevChecksum: 5n }),
    /batch 20 of another log: it does not follow the one before/,
  ],
  'other records': [
    writeBatch({ ...same, recordBase: due.recordBase + 1n }),
    /batch 20 from record 141, 140 is due/,
  ],
  'other data': [
    writeBatch({ ...same, dataBase: due.dataBase + 8n }),
    /batch 20 does not follow: expected record 140/,
  ],
};

for (const [what, [bytes, words]] of Object.entries(WRONG)) {
  middleOf(`${what} instead: refused by name, and not acknowledged`, async () => {
    const s = await receiving();
    s.peer.socket.write(bytes);
    await until('it is lost', () => s.t.closed.length > 0);
    assert.match(s.t.closed[0] ?? '', /^peer-protocol: the primary sent /);
    assert.match(s.t.closed[0] ?? '', words);
    await until('the peer sees it', () => s.peer.ended);
    assert.equal(s.peer.acks, []);
    const { lastSequence, storedSequence } = s.courier.receiveFacts();
    assert.equal([lastSequence, storedSequence, s.t.firsts], [null, null, 0]);
    assert.is(s.ring.status().inPending, 0);
    s.end();
  });
}

middleOf('a replay ring that begins elsewhere is refused', () => {
  for (const [record, data] of [
    [0n, 0n],
    [due.recordBase, due.dataBase + 8n],
  ] as const) {
    const ring = new ExitRing();
    ring.startAt(record, data);
    const t = new TestCourier(ring);
    const file = new LogFile(join(tempDir('elsewhere'), 'log'), WRITER);
    const options = { vmId: VM_ID, term: 1, durable: true, log: file.start };
    const code = (start?: object): string =>
      codeOf(() => t.courier.receive({ ...options, ...(start && { start: start as never }) }));
    assert.is(code(START), 'ERR_RING_STATE');
    assert.is(code({ ...START, dataBase: 5 }), 'ERR_INVALID_ARG_TYPE');
    assert.is(code({ ...START, recordBase: record, dataBase: data }), 'none');
    t.courier.destroy();
    ring.destroy();
    file.close();
  }
});

middleOf.run();

const whole = suite('a courier at each end');

whole('a backup joins, replays, and is waited for', async () => {
  const s = await alone();
  await s.logged(MIB);
  const from = await middle(s.dir);
  const first = readBatchHeader(Buffer.from(from.bytes), 0);
  const ring = new ExitRing({ recordSlots: 4096, dataBytes: 4 * MIB });
  ring.startAt(first.recordBase, first.dataBase);
  const dir = join(tempDir('joined'), 'log');
  const file = new LogFile(dir, { ...WRITER, firstSequence: first.sequence });
  const t = new TestCourier(ring);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start, start: first });
  // What its QEMU would log is nobody's: it only must not fill the ring.
  t.courier.ship({ ...SHIP, acksNeeded: 0, log: null });
  file.close();
  const fake = startFakeQemu(ring, 'echo', 1_000_000);
  fake.done.catch(() => {});

  const peer = await s.join(from);
  await peer.giveNearTo(t);
  await s.caughtUp();
  s.courier.protect();
  const { sequence } = s.facts();
  await until('it is waited for, and acknowledges', () => s.facts().ackedSequence > sequence + 50n);
  await s.quiet();
  await until('all of it', () => s.facts().allAcked && s.facts().held === 0);
  assert.is(t.courier.receiveFacts().storedSequence, s.facts().sequence - 1n);
  await until('it is replayed', () => ring.status().inPending === 0);
  const here = (await stored(s.dir)).slice(Number(first.sequence));
  const there = await stored(dir);
  const bytesOf = (all: typeof here): Buffer => Buffer.concat(all.map(({ bytes }) => bytes));
  assert.ok(bytesOf(here).equals(bytesOf(there)));
  assert.is(s.commit(), here.at(-1)?.recordEnd);
  assert.equal([...s.t.closed, ...t.closed, ...t.broken, ...t.failed], []);
  fake.child.kill('SIGKILL');
  t.courier.destroy();
  ring.destroy();
  s.end();
});

whole.run();
