// SPDX-License-Identifier: Apache-2.0
/** What a backup by image believes, stores, acknowledges and shows: whole epochs. */
import { existsSync, readFileSync } from 'node:fs';
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
import { afterOne, DISK, receiving } from '../lib/image-backup.ts';
import {
  blocks,
  EpochSender,
  PAGE,
  PAGES,
  PART,
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

images('a digest of other memory than the image has ends it, by name', async () => {
  const s = await receiving();
  const sender = await afterOne(s);
  s.peer.socket.write(sender.state({ part: PART.DEVICES, data: Buffer.from('devices2') }));
  s.peer.socket.write(sender.end(1));
  s.peer.socket.write(sender.last([record(KIND.DIGEST, { payload: Buffer.alloc(40, 7) })]));
  await until('it is told', () => s.t.broken.length === 1);
  assert.match(s.t.broken[0] ?? '', /memory of the image differs .* epoch 2: .* 0707070707070707/);
  s.peer.socket.write(sender.whole([], 'more'));
  await pause(30);
  assert.is(s.t.console, 'one', 'it takes nothing more');
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
    codeOf(() => s.courier.handOver(s.path)),
    'ERR_RING_STATE',
  );
  assert.not.ok(existsSync(s.path));
  const sender = await afterOne(s);
  s.peer.socket.write(sender.state({ part: PART.RAM, offset: PAGE, data: page('2') }));
  s.peer.socket.write(sender.state({ part: PART.DEVICES, data: Buffer.from('devices2') }));
  const { bytes } = s.courier.receiveFacts();
  await until('they have come', () => s.courier.receiveFacts().bytes > bytes || bytes > 2 * PAGE);
  s.courier.closeReceive();
  assert.is(
    codeOf(() => s.courier.handOver(join(s.dir, 'nowhere', 'image'))),
    'ENOENT',
  );
  s.courier.handOver(s.path);
  const file = readFileSync(s.path);
  assert.ok(file.includes('devices!') && !file.includes('devices2'));
  assert.not.ok(file.includes(page('1')), 'main memory is shared, and not in it');
  assert.equal([s.memory(0), s.memory(1)], ['1', '']);
  s.end();
});

images('a QEMU that executes a log has no image to hand over', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const file = new LogFile(join(tempDir('no-image'), 'log'), WRITER);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start });
  assert.is(
    codeOf(() => t.courier.handOver('/nowhere/image')),
    'ERR_RING_STATE',
  );
  t.courier.destroy();
  ring.destroy();
  file.close();
});

const RAM = { part: PART.RAM, offset: PAGE, data: page('x') };
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
    s.courier.handOver(s.path);
    assert.ok(readFileSync(s.path).includes('devices!'));
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
