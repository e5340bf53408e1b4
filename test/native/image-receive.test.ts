// SPDX-License-Identifier: Apache-2.0
/** What a backup by image believes, stores, acknowledges and shows: whole epochs. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { afterOne, type Backup, DISK, receiving } from '../lib/image-backup.ts';
import {
  blocks,
  EpochSender,
  PAGE,
  PAGES,
  PART,
  type PieceOf,
  page,
  record,
  reference,
} from '../lib/image-epochs.ts';
import { codeOf } from '../lib/lone-vm.ts';

const images = suite('an image receives');
const MIB = 1 << 20;

images('an epoch is stored, acknowledged and shown when its end has come, not before', async () => {
  const s = await receiving();
  assert.is(s.courier.receiveFacts().imageEpoch, null);
  const sender = await afterOne(s);
  assert.is(s.courier.receiveFacts().imageEpoch, 1n);
  assert.is(s.t.console, 'one');
  assert.is(s.t.firsts, 1);
  const write = (frame: Buffer): boolean => s.peer.socket.write(frame);
  const said = (text: string) => record(KIND.CHAR_OUT, { payload: Buffer.from(text) });
  // A long one comes in several batches.
  const size = s.courier.receiveFacts();
  write(sender.state({ part: PART.RAM, offset: PAGE, data: page('2') }));
  write(sender.state({ part: PART.DISK, data: page('e') }));
  write(sender.batch([said('tw')]));
  write(sender.batch([said('o'), record(KIND.NET_OUT, { payload: Buffer.alloc(60) })]));
  write(sender.state({ part: PART.DEVICES, data: Buffer.from('devices2') }));
  write(sender.end());
  await until('all of it has come', () => s.courier.receiveFacts().bytes > size.bytes + 2 * PAGE);
  await pause(50);
  const { lastSequence, storedSequence } = s.courier.receiveFacts();
  assert.equal([lastSequence, storedSequence], [0n, 0n]);
  assert.is(s.peer.acks.length, 1);
  assert.is(s.t.console, 'one');
  assert.is(s.memory(1), '');
  assert.ok(readFileSync(s.disk).equals(DISK));
  const last = sender.last();
  write(last);
  await until('it is acknowledged', () => s.peer.acks.length === 2);
  await pause(30);
  assert.is(s.peer.acks.length, 2, 'one ack for all of it');
  const header = readBatchHeader(last, 0);
  assert.is(s.peer.acks[1]?.sequence, header.sequence);
  assert.is(s.peer.acks[1]?.recordEnd, header.recordEnd);
  assert.is(s.peer.acks[1]?.batchChecksum, header.checksum);
  await until('it is shown', () => s.t.console === 'onetwo');
  await until('it is applied', () => s.memory(1) === '2');
  assert.is(s.courier.receiveFacts().imageEpoch, 2n);
  assert.is(s.memory(0), '1');
  assert.ok(readFileSync(s.disk).subarray(0, PAGE).equals(page('e')));
  assert.is(await s.stored(), 4);
  s.end();
});

images('what is of no whole epoch is not in the log', async () => {
  const s = await receiving();
  const sender = await afterOne(s);
  s.peer.socket.write(sender.batch([record(KIND.ENTROPY, { payload: Buffer.alloc(8) })]));
  s.peer.socket.end();
  await until('the end is told', () => s.t.closed.length === 1);
  assert.is(await s.stored(), 1);
  s.end();
});

images('however the stream is cut', async () => {
  const sender = new EpochSender();
  const epochs = ['a', 'b', 'c'].map((fill, at) =>
    sender.whole([{ part: PART.RAM, offset: at * PAGE, data: page(fill) }], fill),
  );
  const stream = Buffer.concat(epochs);
  for (const step of [61, 4099, stream.length]) {
    const s = await receiving();
    for (let at = 0; at < stream.length; at += step) {
      s.peer.socket.write(stream.subarray(at, at + step));
      if (at % 7 === 0) await pause(0);
    }
    await until('all of it', () => s.peer.acks.at(-1)?.sequence === 2n);
    await until('is applied', () => s.memory(2) === 'c');
    assert.equal([s.memory(0), s.memory(1)], ['a', 'b']);
    await until('is shown', () => s.t.console === 'abc');
    assert.is(await s.stored(), 3);
    s.end();
  }
});

/** exitlog_cut_digest: five words of the VM, of which `ram` is the second; the devices' bytes. */
function cutDigest(ram: bigint, shipped: bigint): Buffer {
  const payload = Buffer.alloc(48);
  payload.writeBigUInt64LE(ram, 8);
  payload.writeBigUInt64LE(shipped, 40);
  return payload;
}

/** The next epoch changes nothing, and has this digest. */
function compares(s: Backup, sender: EpochSender, ram: bigint, shipped: bigint): void {
  s.peer.socket.write(sender.state({ part: PART.DEVICES, data: Buffer.from('devices2') }));
  s.peer.socket.write(sender.end(1));
  s.peer.socket.write(sender.last([record(KIND.DIGEST, { payload: cutDigest(ram, shipped) })]));
}

/** What a backup ends with that is given this digest, and the hash that it has instead. */
async function differs(ram: bigint, shipped: bigint): Promise<readonly [string, bigint]> {
  const s = await receiving();
  const sender = await afterOne(s);
  compares(s, sender, ram, shipped);
  await until('it is told', () => s.t.broken.length === 1);
  assert.is(s.courier.receiveFacts().imageCompared, 0);
  s.peer.socket.write(sender.whole([], 'more'));
  await pause(30);
  assert.is(s.t.console, 'one', 'it takes nothing more');
  s.end();
  const said = s.t.broken[0] ?? '';
  return [said, BigInt(`0x${/: ([0-9a-f]{16}) instead of /.exec(said)?.[1] ?? ''}`)];
}

images('a digest of other memory or devices than the image has ends it, by name', async () => {
  const [memory, ram] = await differs(0x77n, 0n);
  assert.match(memory, /memory of the image differs .* epoch 2: .* 0000000000000077/);
  const [devices, shipped] = await differs(ram, 0x78n);
  assert.match(devices, /state of devices of the image differs .* epoch 2: .* 0000000000000078/);

  const s = await receiving();
  const sender = await afterOne(s);
  compares(s, sender, ram, shipped);
  await until('it is compared', () => s.courier.receiveFacts().imageCompared === 1);
  assert.equal(s.t.broken, []);
  // A page that no epoch has changed.
  writeSync(s.image.memoryFd, Buffer.from('x'), 0, 1, 3 * PAGE);
  compares(s, sender, ram, shipped);
  await until('it is told', () => s.t.broken.length === 1);
  assert.match(s.t.broken[0] ?? '', /page 3 of pc\.ram in the image is not as epoch 3 left it/);
  s.end();
});

images('the end of the log ends it without another epoch, and its disks are finished', async () => {
  const s = await receiving();
  const sender = await afterOne(s);
  s.peer.socket.write(sender.state({ part: PART.DISK, offset: PAGE, data: page('z') }));
  s.peer.socket.write(sender.batch([record(KIND.END, { channel: 1 })]));
  await until('it is told', () => s.t.logsEnded === 1);
  await until('and acknowledged', () => s.peer.acks.at(-1)?.sequence === 1n);
  assert.ok(
    readFileSync(s.disk)
      .subarray(PAGE, 2 * PAGE)
      .equals(page('z')),
  );
  assert.is(await s.stored(), 2);
  s.end();
});

images('it is handed over as of its last whole epoch, and not before the first', async () => {
  const s = await receiving();
  assert.is(
    codeOf(() => s.courier.handOver(s.restFd)),
    'ERR_RING_STATE',
  );
  assert.is(readFileSync(s.rest).length, 0);
  const sender = await afterOne(s);
  s.peer.socket.write(sender.state({ part: PART.RAM, offset: PAGE, data: page('2') }));
  s.peer.socket.write(sender.state({ part: PART.DEVICES, data: Buffer.from('devices2') }));
  const { bytes } = s.courier.receiveFacts();
  await until('they have come', () => s.courier.receiveFacts().bytes > bytes || bytes > 2 * PAGE);
  s.courier.closeReceive();
  const closed = openSync(s.disk, 'r');
  assert.is(
    codeOf(() => s.courier.handOver(closed)),
    'EINVAL',
  );
  closeSync(closed);
  s.courier.handOver(s.restFd);
  const file = readFileSync(s.rest);
  assert.ok(file.includes('devices!') && !file.includes('devices2'));
  assert.not.ok(file.includes(page('1')), 'main memory is shared, and not in it');
  assert.equal([s.memory(0), s.memory(1)], ['1', '']);
  s.end();
});

images('a patch of the devices is of those of the epoch before', async () => {
  for (const [bytes, patch, becomes] of [
    [8, [0, 1, 0x44], 'Devices!'],
    [11, [8, 2, 0x3f, 0x2e], 'devices!?.\0'],
    [3, [2, 1, 0x57], 'deW'],
  ] as const) {
    const s = await receiving();
    const sender = await afterOne(s);
    const data = Buffer.from(patch);
    s.peer.socket.write(sender.state({ part: PART.DEVICES, bytes, data, isPatch: true }));
    s.peer.socket.write(sender.end());
    s.peer.socket.write(sender.last());
    await until('it is applied', () => s.courier.receiveFacts().imageEpoch === 2n);
    s.courier.closeReceive();
    s.courier.handOver(s.restFd);
    const file = readFileSync(s.rest);
    assert.ok(file.includes(becomes), becomes);
    assert.is(file.includes('devices!'), becomes.startsWith('devices!'));
    s.end();
  }
});

images('a QEMU that executes a log has no image to hand over', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const file = new LogFile(join(tempDir('no-image'), 'log'), WRITER);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start });
  assert.is(
    codeOf(() => t.courier.handOver(0)),
    'ERR_RING_STATE',
  );
  t.courier.destroy();
  ring.destroy();
  file.close();
});

const RAM = { part: PART.RAM, offset: PAGE, data: page('x') };

/** A patch of page 1, as its bytes are. */
function patch(bytes: number[], more: Partial<PieceOf> = {}): PieceOf {
  const data = Buffer.from(bytes);
  return { part: PART.RAM, offset: PAGE, bytes: PAGE, data, isPatch: true, ...more };
}
const devices = { part: PART.DEVICES, data: Buffer.from('devices2') };

/** What is wrong with a second epoch, and how it is refused. */
const WRONG: readonly (readonly [string, (of: EpochSender) => Buffer[], RegExp])[] = [
  [
    'a damaged piece',
    (of) => [Buffer.from(of.state(RAM)).fill(1, 200, 201)],
    /a damaged piece of state: piece checksum/,
  ],
  [
    'a repeated piece',
    (of) => {
      const piece = of.state(RAM);
      return [piece, piece];
    },
    /piece of state 4 where 5 is due/,
  ],
  [
    'a missing piece',
    (of) => {
      of.state(RAM);
      return [of.state(devices)];
    },
    /piece of state 5 where 4 is due/,
  ],
  ['a piece of an earlier epoch', (of) => [of.state(RAM, { epoch: 1n })], /epoch 1 where 2 is due/],
  ['a piece of a later epoch', (of) => [of.state(RAM, { epoch: 3n })], /epoch 3 where 2 is due/],
  [
    'memory that its block does not have',
    (of) => [of.state({ ...RAM, offset: PAGES * PAGE })],
    /memory that its block does not have/,
  ],
  ['memory of no block', (of) => [of.state({ ...RAM, part: PART.RAM + 1 })], /memory of block 1/],
  [
    'a write beyond its disk',
    (of) => [of.state({ part: PART.DISK, offset: DISK.length - 1, data: page('x') })],
    /a write beyond the end of disk 0/,
  ],
  [
    'a write to no disk',
    (of) => [of.state({ part: PART.DISK + 1, data: page('x') })],
    /a write to disk 1/,
  ],
  [
    'a patch beyond its range',
    (of) => [of.state(patch([0xff, 0x1f, 2, 1, 1]))],
    /a patch beyond the end of its range/,
  ],
  [
    'a patch of memory that its block does not have',
    (of) => [of.state(patch([0, 1, 1], { bytes: PAGES * PAGE }))],
    /memory that its block does not have/,
  ],
  [
    'a patch that is cut short',
    (of) => [of.state(patch([0, 9, 1, 1]))],
    /a patch that has not the bytes it says/,
  ],
  ['a patch of nothing', (of) => [of.state(patch([0, 0]))], /a patch with an empty run/],
  ['a patch with half a number', (of) => [of.state(patch([0x80]))], /a patch with half a number/],
  [
    'a patch of no page',
    (of) => [of.state(patch([0, 1, 1], { offset: PAGE + 8 }))],
    /memory that its block does not have/,
  ],
  [
    'a patch beyond the devices',
    (of) => [of.state(patch([7, 2, 1, 1], { part: PART.DEVICES, offset: 0, bytes: 8 }))],
    /a patch beyond the end of its range/,
  ],
  [
    'a patch of some of the devices',
    (of) => [of.state(patch([0, 1, 1], { part: PART.DEVICES, offset: 8, bytes: 8 }))],
    /a piece out of order/,
  ],
  [
    'a patch of a disk',
    (of) => [of.state(patch([0, 1, 1], { part: PART.DISK, offset: 0 }))],
    /a patch of part 4096/,
  ],
  ['a part that is none', (of) => [of.state({ part: 9, data: page('x') })], /a piece of part 9/],
  [
    'blocks of another VM',
    (of) => [of.state({ part: PART.BLOCKS, data: blocks(2 * PAGES) })],
    /a block of memory that is none/,
  ],
  ['an end of another epoch', (of) => [of.end(0, { epoch: 3n })], /the end of another epoch/],
  [
    'a piece after the end',
    (of) => [of.state(devices), of.end(), of.state(RAM)],
    /state of the next epoch before the end of this one/,
  ],
  [
    'a CHECKPOINT without its state',
    (of) => [of.state(RAM), of.last()],
    /the end of epoch 2 without its state/,
  ],
  [
    'a CHECKPOINT elsewhere than its state says',
    (of) => [of.state(devices), of.end(7), of.last()],
    /the end of epoch 2 without its state/,
  ],
  [
    'an end without devices',
    (of) => [of.state(RAM), of.end(), of.last()],
    /an epoch that is not whole/,
  ],
  [
    'an end of the log within an epoch of references',
    (of) => [
      of.state({ part: PART.REFERENCES, data: reference({ bytes: PAGE }) }),
      of.batch([record(KIND.END, { channel: 1 })]),
    ],
    /the end of the log, and references without the rest of their epoch/,
  ],
  [
    'a batch that goes on beyond the end of its epoch',
    (of) => [
      of.state(devices),
      of.end(),
      of.batch([
        record(KIND.CHECKPOINT, { arg: 2n, channel: 1 }),
        record(KIND.ENTROPY, { payload: Buffer.alloc(8) }),
      ]),
    ],
    /a batch that goes on beyond the end of its epoch/,
  ],
];

for (const [what, wrong, why] of WRONG) {
  images(`${what} is refused by name, and changes nothing`, async () => {
    const s = await receiving();
    const sender = await afterOne(s);
    s.peer.socket.write(Buffer.concat(wrong(sender)));
    await until('it is refused', () => s.t.closed.length > 0);
    assert.match(s.t.closed[0] ?? '', /^peer-protocol: /);
    assert.match(s.t.closed[0] ?? '', why);
    await pause(20);
    assert.is(s.peer.acks.length, 1);
    assert.is(s.t.console, 'one');
    assert.equal([s.memory(0), s.memory(1)], ['1', '']);
    assert.ok(readFileSync(s.disk).equals(DISK));
    assert.equal(s.t.broken, []);
    // It can still take over from what it has.
    s.courier.closeReceive();
    s.courier.handOver(s.restFd);
    assert.ok(readFileSync(s.rest).includes('devices!'));
    assert.is(await s.stored(), 1);
    s.end();
  });
}

images('an oversized piece is refused by name', async () => {
  const s = await receiving();
  const sender = await afterOne(s);
  const prefix = Buffer.from(sender.state(RAM).subarray(0, 16));
  prefix.writeUInt32LE(MIB + 80, 8);
  prefix.writeUInt32LE(crc32(prefix.subarray(0, 12)), 12);
  s.peer.socket.write(prefix);
  await until('it is refused', () => s.t.closed.length > 0);
  assert.match(s.t.closed[0] ?? '', /^peer-protocol: .*type 13 is oversized/);
  assert.is(s.peer.acks.length, 1);
  s.end();
});

images.run();
