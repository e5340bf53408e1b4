// SPDX-License-Identifier: Apache-2.0
/** What an epoch's state does to the order of the log: on its way from QEMU to a backup. */
import { execFileSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { icountOf } from '../../src/base/position.ts';
import { Batch, readBatchHeader } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { CutGuest, notify, PAGE, PART, page } from '../lib/image-epochs.ts';

const MIB = 1 << 20;
const states = suite('state of epochs, sent');

async function cutting({ stateBytes = MIB } = {}) {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes });
  const dir = tempDir('states');
  const file = new LogFile(`${dir}/log`, WRITER);
  const t = new TestCourier(ring);
  const peer = await HandPeer.make();
  const seal = { ...SHIP.seal, atCuts: true };
  t.courier.ship({ ...SHIP, seal, log: file.start });
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
    file.close();
  };
  return { ring, dir, t, courier: t.courier, peer, guest: new CutGuest(ring), end };
}

/** What came: parts of pieces, and `batch`. */
function order(peer: HandPeer): (number | string)[] {
  return peer.frames
    .filter(({ type }) => type === FRAME.STATE || type === FRAME.BATCH)
    .map(({ type, buffer }) => (type === FRAME.BATCH ? 'batch' : partOf(buffer)));
}

/** schema/wire.capnp, struct State: checksum, ordinal, then the piece. */
const partOf = (frame: Buffer): number => frame.readUInt32LE(48);
const ordinalOf = (frame: Buffer): bigint => frame.readBigUInt64LE(40);

function piecesOf(peer: HandPeer): Buffer[] {
  return peer.frames.filter(({ type }) => type === FRAME.STATE).map(({ buffer }) => buffer);
}

function kindsOf(batch: Buffer): number[] {
  return [...Batch.open(batch, 0, batch.length).records()].map(({ kind }) => kind);
}

states('the pieces of an epoch, then its batch, then the next pieces', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  s.guest.put({ part: PART.RAM, data: page('1') });
  s.guest.record(KIND.CHAR_OUT, Buffer.from('one'));
  s.guest.cut();
  // All of it is there before the courier looks.
  s.guest.put({ part: PART.RAM, offset: PAGE, data: page('2') });
  s.guest.record(KIND.CHAR_OUT, Buffer.from('two'));
  s.guest.runs(5000n);
  notify(s.ring);
  const first = [PART.BLOCKS, PART.RAM, PART.DEVICES, PART.END, 'batch', PART.RAM];
  await until('the first epoch, and the begin of the next', () => order(s.peer).length === 6);
  assert.equal(order(s.peer), first);
  await pause(30);
  assert.is(s.peer.batches.length, 1, 'what is of no whole epoch waits');
  s.guest.cut();
  notify(s.ring);
  await until('the second', () => s.peer.batches.length === 2);
  assert.equal(order(s.peer), [...first, PART.DEVICES, PART.END, 'batch']);
  assert.equal(
    piecesOf(s.peer).map(ordinalOf),
    [0n, 1n, 2n, 3n, 4n, 5n, 6n],
    'they are numbered through',
  );
  s.end();
});

states('a batch ends at the end of an epoch, and its horizon there', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  s.guest.record(KIND.NET_OUT, Buffer.from('packet'));
  s.guest.cut();
  const cutAt = s.guest.icount;
  s.guest.record(KIND.NET_OUT, Buffer.from('after'));
  s.guest.runs(1_000_000n);
  notify(s.ring);
  await until('it is sent', () => s.peer.batches.length === 1);
  const [batch] = s.peer.batches as [Buffer];
  assert.equal(kindsOf(batch), [KIND.NET_OUT, KIND.CHECKPOINT]);
  assert.is(icountOf(readBatchHeader(batch, 0).horizon.point), cutAt);
  await pause(30);
  assert.is(s.peer.batches.length, 1);
  assert.is(s.ring.status().outPending, 1);
  s.end();
});

states(
  'a batch has no end of an epoch whose state is not whole, and no horizon beyond',
  async () => {
    const s = await cutting();
    s.peer.giveTo(s.t);
    s.guest.begin();
    s.guest.record(KIND.NET_OUT, Buffer.from('packet'));
    s.guest.cutBeforeItIsWhole();
    const cutAt = s.guest.icount;
    s.guest.record(KIND.NET_OUT, Buffer.from('after'));
    s.guest.runs(1_000_000n);
    notify(s.ring);
    let flushed = false;
    const flush = s.courier.flush().then(() => {
      flushed = true;
    });
    await until('what is not held is sent', () => s.peer.batches.length === 1);
    await pause(30);
    const [before] = s.peer.batches as [Buffer];
    assert.equal(kindsOf(before), [KIND.NET_OUT]);
    assert.ok(icountOf(readBatchHeader(before, 0).horizon.point) <= cutAt);
    assert.not.ok(flushed, 'what is held is not flushed');
    s.guest.put({ part: PART.RAM, data: page('1') });
    s.guest.whole();
    notify(s.ring);
    await until('its end is sent', () => s.peer.batches.length >= 2);
    await flush;
    assert.equal(kindsOf(s.peer.batches[1] as Buffer), [KIND.CHECKPOINT]);
    const whole = [PART.BLOCKS, PART.RAM, PART.DEVICES, PART.END, 'batch'];
    const all = order(s.peer).filter((one, at) => !(one === 'batch' && at < whole.length - 1));
    assert.equal(all.slice(0, whole.length), whole, 'after all of its state');
    s.end();
  },
);

states('two cuts that wait are two batches, each after its own pieces', async () => {
  const s = await cutting();
  s.guest.begin();
  s.guest.cut();
  s.guest.put({ part: PART.RAM, data: page('2') });
  s.guest.cut();
  s.peer.giveTo(s.t);
  notify(s.ring);
  await until('both are sent', () => s.peer.batches.length === 2);
  const whole = [PART.DEVICES, PART.END, 'batch'];
  assert.equal(order(s.peer), [PART.BLOCKS, ...whole, PART.RAM, ...whole]);
  assert.equal(s.peer.batches.map(kindsOf), [[KIND.CHECKPOINT], [KIND.CHECKPOINT]]);
  s.end();
});

states('nothing leaves before the ack of the batch that ends its epoch', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  s.guest.record(KIND.NET_OUT, Buffer.from('packet'));
  s.guest.record(KIND.CHAR_OUT, Buffer.from('said'));
  s.guest.cut();
  s.guest.record(KIND.CHAR_OUT, Buffer.from('not yet'));
  notify(s.ring);
  await until('it is sent', () => s.peer.batches.length === 1);
  await pause(30);
  assert.is(s.ring.status().commit, 0n);
  assert.is(s.t.console, '');
  s.peer.ack({ sequence: 0n, recordEnd: 3n });
  await until('it is shown', () => s.t.console === 'said');
  assert.is(s.ring.status().commit, 3n);
  await pause(30);
  assert.is(s.t.console, 'said', 'what came after the cut is of the next epoch');
  s.end();
});

states(
  'an epoch takes from its end to its ack, less what it waits for the one before',
  async () => {
    const s = await cutting();
    s.peer.giveTo(s.t);
    s.guest.begin();
    const startedMs = performance.now();
    s.guest.cut();
    s.guest.cut();
    notify(s.ring);
    await until('both are sent', () => s.peer.batches.length === 2);
    const facts = () => s.courier.shipFacts().state;
    assert.equal([facts().transfers, facts().transferNs], [0, 0]);
    await pause(50);
    s.peer.ack({ sequence: 0n, recordEnd: 1n });
    await until('one has come', () => facts().transfers === 1);
    assert.ok(facts().transferNs >= 50e6, `${facts().transferNs} ns`);
    await pause(50);
    s.peer.ack({ sequence: 1n, recordEnd: 2n });
    await until('both have', () => facts().transfers === 2);
    const wholeNs = (performance.now() - startedMs) * 1e6;
    assert.ok(facts().transferNs >= 100e6, `${facts().transferNs} ns`);
    assert.ok(facts().transferNs <= wholeNs, `${facts().transferNs} ns in ${wholeNs}`);
    s.end();
  },
);

states('pieces before an image begins go nowhere, and make room', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.put({ part: PART.RAM, data: page('x') });
  s.guest.put({ part: PART.END });
  s.guest.begin();
  s.guest.cut();
  notify(s.ring);
  await until('it is sent', () => s.peer.batches.length === 1);
  assert.equal(order(s.peer), [PART.BLOCKS, PART.DEVICES, PART.END, 'batch']);
  assert.equal(piecesOf(s.peer).map(ordinalOf), [0n, 1n, 2n]);
  s.end();
});

states('an image that is begun anew numbers its pieces anew', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  s.guest.put({ part: PART.RAM, data: page('x') });
  s.guest.begin();
  s.guest.cut();
  notify(s.ring);
  await until('it is sent', () => s.peer.batches.length === 1);
  assert.equal(piecesOf(s.peer).map(ordinalOf), [0n, 0n, 1n, 2n]);
  s.end();
});

states('who reads slowly leaves pieces in the ring, where QEMU waits for room', async () => {
  const room = 64 * MIB;
  const s = await cutting({ stateBytes: room });
  s.peer.giveTo(s.t);
  s.peer.socket.pause();
  s.guest.begin();
  const count = 40;
  for (let n = 0; n < count; n += 1) {
    s.guest.put({ part: PART.DISK, data: Buffer.alloc(MIB, n) });
  }
  notify(s.ring);
  await pause(300);
  const before = process.memoryUsage().rss;
  s.guest.cut();
  notify(s.ring);
  await pause(300);
  assert.is(s.peer.frames.length, 0);
  assert.ok(process.memoryUsage().rss - before < 64 * MIB, 'what waits is bounded');
  s.peer.socket.resume();
  await until('all of it', () => s.peer.batches.length === 1);
  assert.equal(
    piecesOf(s.peer).map(ordinalOf),
    Array.from({ length: count + 3 }, (_, n) => BigInt(n)),
  );
  s.end();
});

states('what is kept for the backup that comes is sent first', async () => {
  const s = await cutting();
  s.courier.detach(1);
  s.courier.keepState(s.dir);
  s.guest.put({ part: PART.RAM, data: page('-') });
  s.guest.begin();
  s.guest.put({ part: PART.DISK, data: page('a') });
  s.guest.put({ part: PART.DISK, offset: PAGE, data: page('b') });
  notify(s.ring);
  await pause(30);
  s.guest.put({ part: PART.RAM, data: page('c') });
  s.peer.giveTo(s.t);
  s.guest.cut();
  notify(s.ring);
  await until('all of it', () => s.peer.batches.length >= 1);
  assert.equal(order(s.peer).slice(0, 7), [
    PART.BLOCKS,
    PART.DISK,
    PART.DISK,
    PART.RAM,
    PART.DEVICES,
    PART.END,
    'batch',
  ]);
  assert.equal(piecesOf(s.peer).map(ordinalOf), [0n, 1n, 2n, 3n, 4n, 5n]);
  s.end();
});

states(
  'what is kept is read no faster than the backup reads, and its epoch ends after it',
  async () => {
    const s = await cutting({ stateBytes: 256 * MIB });
    s.courier.detach(1);
    s.courier.keepState(s.dir);
    s.guest.begin();
    const count = 120;
    const data = Buffer.alloc(MIB);
    for (let n = 0; n < count; n += 1) s.guest.put({ part: PART.DISK, data: data.fill(n) });
    notify(s.ring);
    await until('it is kept', () => s.courier.shipFacts().state.bytes > count * MIB);
    const before = process.memoryUsage().rss;
    s.peer.start(s.t);
    s.peer.socket.pause();
    s.peer.giveTo(s.t);
    s.guest.cut();
    notify(s.ring);
    await pause(300);
    assert.is(s.peer.frames.length, 0);
    assert.ok(process.memoryUsage().rss - before < 32 * MIB, 'what waits is bounded');
    s.peer.socket.resume();
    await until('all of it', () => s.peer.batches.length > 0);
    assert.equal(
      piecesOf(s.peer).map(ordinalOf),
      Array.from({ length: count + 3 }, (_, n) => BigInt(n)),
    );
    s.end();
  },
);

states('a folder that is not there is named, and nothing is kept', async () => {
  const s = await cutting();
  assert.throws(
    () => s.courier.keepState(`${s.dir}/nowhere`),
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
  s.end();
});

states('what could not be kept costs the backup that comes, not the VM', async () => {
  const s = await cutting();
  const room = tempDir('states-full');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'none', room]);
  try {
    s.courier.detach(1);
    s.courier.keepState(room);
    s.guest.begin();
    for (let n = 0; n < 4; n += 1) {
      s.guest.put({ part: PART.DISK, offset: n * PAGE, data: page('a') });
    }
    notify(s.ring);
    await pause(30);
    assert.throws(
      () => s.peer.giveTo(s.t),
      (error: NodeJS.ErrnoException) =>
        error.code === 'ERR_RING_STATE' && /cannot be written: No space/.test(error.message),
    );
    assert.equal(s.t.broken, []);
    // Another one, with room.
    s.courier.keepState(s.dir);
    s.guest.begin();
    s.peer.giveTo(s.t);
    await until('it gets what is kept', () => piecesOf(s.peer).length === 1);
  } finally {
    s.end();
    execFileSync('umount', [room]);
  }
});

states('an OUT that is half full of payload is emptied, without the end of an epoch', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  for (let n = 0; n < 10; n += 1) s.guest.record(KIND.NET_IN, Buffer.alloc(60_000, n));
  notify(s.ring);
  await until('a batch', () => s.peer.batches.length > 0);
  assert.is(s.ring.status().commit, 0n, 'which releases nothing');
  s.end();
});

states('a piece that QEMU may not put breaks its process, by name', async () => {
  const s = await cutting();
  s.peer.giveTo(s.t);
  s.guest.begin();
  s.guest.put({ part: PART.RAM, bytes: PAGE, data: Buffer.alloc(8) });
  notify(s.ring);
  await until('it is told', () => s.t.broken.length === 1);
  assert.match(s.t.broken[0] ?? '', /QEMU broke the rules of the ring of state/);
  s.end();
});

states.run();
