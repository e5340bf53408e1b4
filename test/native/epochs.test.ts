// SPDX-License-Identifier: Apache-2.0
/** Pieces of an epoch that no VM of ours would send, and an image that they leave as it was. */
import { readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { Epochs, GuestRing, putPieces } from '../../native/kvm-exit-log/testing.ts';
import { KIND } from '../../src/log/kinds.ts';

const epochs = suite('epochs');
const PART = { BLOCKS: 0, DEVICES: 1, END: 2, PACKETS: 4, RAM: 16, DISK: 4096 } as const;
const PAGE = 4096;
const DATA = 1;
const MIB = 1 << 20;

interface Given {
  readonly part: number;
  readonly offset?: number;
  readonly bytes?: number;
  readonly epoch?: number;
  readonly flags?: number;
  readonly data?: Buffer;
}

function block(name: string, bytes: number, used = bytes): Buffer {
  const text = Buffer.alloc(272);
  text.write(name);
  text.writeBigUInt64LE(BigInt(bytes), 256);
  text.writeBigUInt64LE(BigInt(used), 264);
  return text;
}

const SECTOR = 512;
const DISK_BYTES = 16 * SECTOR;

/** A ring, and what its QEMU would put there; its image has a disk. */
function given(memoryBytes = 0) {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: MIB });
  const disk = join(tempDir('epochs'), 'disk.raw');
  writeFileSync(disk, Buffer.alloc(DISK_BYTES, 0xd1));
  const image = new Epochs(ring, { memoryBytes, disks: [disk] });
  const put = ({ part, offset = 0, bytes, epoch = 1, flags, data }: Given): void =>
    putPieces(ring, {
      part,
      flags: flags ?? (data === undefined ? 0 : DATA),
      offset: BigInt(offset),
      bytes: BigInt(bytes ?? data?.length ?? 0),
      epoch: BigInt(epoch),
      data: data ?? null,
    });
  /** An epoch ends, and has its record. */
  const end = (epoch: number): void => {
    put({ part: PART.DEVICES, epoch, data: Buffer.from('devices!') });
    put({ part: PART.END, epoch, offset: epoch - 1 });
    assert.is(ring.put(KIND.CHECKPOINT, 0n, 0, 0n), BigInt(epoch - 1));
  };
  return { ring, image, put, end, disk };
}

/** A VM of two blocks of memory, after an epoch in which the first page was written. */
function vm(name = 'a', memoryBytes = 0) {
  const { put, image, end, ...more } = given(memoryBytes);
  put({
    part: PART.BLOCKS,
    data: Buffer.concat([block(name, 4 * PAGE), block('b', 2 * PAGE, PAGE)]),
  });
  put({ part: PART.RAM, data: Buffer.alloc(PAGE, 7) });
  end(1);
  const first = image.take();
  assert.ok(first !== null);
  assert.is(first.number, 1n);
  assert.is(first.ordinal, 0n);
  return { ...more, put, image, end, first };
}

epochs('what is the same again has the same digest, other memory another', () => {
  const { image, put, end, first } = vm();
  const next = (epoch: number, fill: number): bigint | undefined => {
    put({ part: PART.RAM, epoch, data: Buffer.alloc(PAGE, fill) });
    end(epoch);
    return image.take()?.ramDigest;
  };
  assert.is.not(next(2, 8), first.ramDigest);
  assert.is(next(3, 7), first.ramDigest);
});

epochs('an epoch that is not whole changes nothing', () => {
  const { image, put, first } = vm();
  put({ part: PART.RAM, epoch: 2, data: Buffer.alloc(PAGE, 9) });
  assert.is(image.take(), null);
  assert.is(image.digest(), first.ramDigest);
});

epochs('a block that grows counts as far as it is used', () => {
  const { image, put, end, first } = vm();
  put({
    part: PART.BLOCKS,
    epoch: 2,
    data: Buffer.concat([block('a', 4 * PAGE), block('b', 2 * PAGE)]),
  });
  end(2);
  assert.is.not(image.take()?.ramDigest, first.ramDigest);
  assert.equal(image.blocks(), [
    ['a', 4 * PAGE],
    ['b', 2 * PAGE],
  ]);
});

epochs('an epoch without its record waits for it', () => {
  const { ring, image, put } = vm();
  put({ part: PART.DEVICES, epoch: 2, data: Buffer.from('devices!') });
  put({ part: PART.END, epoch: 2, offset: 1 });
  assert.is(image.take(), null);
  ring.put(KIND.CHECKPOINT, 0n, 0, 0n);
  assert.is(image.take()?.number, 2n);
});

epochs('an epoch without the state of devices is refused', () => {
  const { ring, image, put, first } = vm();
  put({ part: PART.RAM, epoch: 2, data: page });
  put({ part: PART.END, epoch: 2, offset: 1 });
  ring.put(KIND.CHECKPOINT, 0n, 0, 0n);
  assert.throws(() => image.take(), /an epoch that is not whole/);
  assert.is(image.digest(), first.ramDigest);
});

epochs('memory that is shared has the same digest, and what was there before is gone', () => {
  const { put, image, end } = given(4 * PAGE);
  const fd = image.memoryFd;
  writeSync(fd, Buffer.alloc(PAGE, 9), 0, PAGE, 2 * PAGE);
  put({
    part: PART.BLOCKS,
    data: Buffer.concat([block('pc.ram', 4 * PAGE), block('b', 2 * PAGE, PAGE)]),
  });
  put({ part: PART.RAM, data: Buffer.alloc(PAGE, 7) });
  assert.is(image.take(), null);
  end(1);
  assert.is(image.take()?.ramDigest, vm('pc.ram').first.ramDigest);
  const expected = Buffer.concat([Buffer.alloc(PAGE, 7), Buffer.alloc(3 * PAGE)]);
  const read = Buffer.alloc(4 * PAGE);
  readSync(fd, read, 0, 4 * PAGE, 0);
  assert.ok(read.equals(expected));
  put({ part: PART.RAM, epoch: 2, bytes: PAGE });
  end(2);
  assert.ok(image.take() !== null);
  readSync(fd, read, 0, 4 * PAGE, 0);
  assert.ok(read.equals(Buffer.alloc(4 * PAGE)), 'a page that became zero');
});

epochs('a ring in which the largest piece has no room is full, until something is taken', () => {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: 4 * MIB });
  const image = new Epochs(ring);
  const piece = { flags: DATA, epoch: 1n, data: Buffer.alloc(MIB), bytes: BigInt(MIB) };
  const isFull = [];
  for (let at = 0; at < 3; at += 1) {
    isFull.push(ring.status().stateIsFull);
    putPieces(ring, { ...piece, part: PART.DEVICES, offset: BigInt(at * MIB) });
  }
  assert.equal([...isFull, ring.status().stateIsFull], [false, false, false, true]);
  assert.is(image.take(), null, 'what is whole only later');
  assert.is(ring.status().stateIsFull, false);
  image.close();
  ring.destroy();
  const without = new GuestRing({ recordSlots: 1024, dataBytes: MIB });
  assert.is(without.status().stateIsFull, false);
  without.destroy();
});

epochs('main memory of another size than who waits has is refused', () => {
  assert.throws(() => vm('pc.ram', 5 * PAGE), /16384 bytes of main memory where 20480 are due/);
});

epochs('writes to a disk are made in their order, when their epoch is committed', () => {
  const { image, put, end, disk } = vm();
  const was = readFileSync(disk);
  const write = (sector: number, fill: number, sectors: number): void =>
    put({
      part: PART.DISK,
      epoch: 2,
      offset: sector * SECTOR,
      data: Buffer.alloc(sectors * SECTOR, fill),
    });
  write(1, 1, 3);
  put({ part: PART.DISK, epoch: 2, offset: 2 * SECTOR, bytes: 4 * SECTOR });
  write(3, 2, 1);
  assert.is(image.take(), null);
  assert.ok(readFileSync(disk).equals(was), 'nothing is written before');
  end(2);
  assert.is(image.take()?.number, 2n);
  was.fill(1, SECTOR, 4 * SECTOR).fill(0, 2 * SECTOR, 6 * SECTOR);
  was.fill(2, 3 * SECTOR, 4 * SECTOR);
  assert.ok(readFileSync(disk).equals(was));
});

/** The file by which it is handed over, for whoever inherits it. */
function restOf(image: Epochs): string {
  return `/proc/self/fd/${image.restFd}`;
}

epochs('an image is handed over as of its last whole epoch, in a file without a name', () => {
  const { image, put, disk } = vm();
  put({ part: PART.RAM + 1, epoch: 2, data: Buffer.alloc(PAGE, 3) });
  put({ part: PART.DISK, epoch: 2, data: Buffer.alloc(SECTOR, 3) });
  assert.is(image.take(), null);
  image.handOver();
  const bytes = readFileSync(restOf(image));
  assert.ok(bytes.includes(Buffer.alloc(PAGE, 7)) && bytes.includes('devices!'));
  assert.not(bytes.includes(Buffer.alloc(SECTOR, 3)));
  assert.ok(readFileSync(disk).equals(Buffer.alloc(DISK_BYTES, 0xd1)));
});

epochs('packets of the last whole epoch are handed over, and of no other', () => {
  const { image, put, end } = vm();
  const file = restOf(image);
  put({ part: PART.PACKETS, epoch: 2, data: Buffer.from('the first that waits') });
  end(2);
  assert.is(image.take()?.number, 2n);
  image.handOver();
  assert.ok(readFileSync(file).includes('the first that waits'));
  put({ part: PART.PACKETS, epoch: 3, data: Buffer.from('the second that waits') });
  end(3);
  assert.is(image.take()?.number, 3n);
  image.handOver();
  assert.not(readFileSync(file).includes('the first that waits'));
  assert.ok(readFileSync(file).includes('the second that waits'));
  end(4);
  assert.is(image.take()?.number, 4n);
  image.handOver();
  assert.not(readFileSync(file).includes('that waits'));
});

epochs('an image without an epoch is not handed over', () => {
  const { image } = given();
  assert.throws(() => image.handOver(), /without an epoch/);
  assert.is(readFileSync(restOf(image)).length, 0);
});

epochs('who waits beside an image takes no commands, and is told where its log begins', () => {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB });
  const says = { ended: false, icount: 0n, outputs: 0n, released: 0n, visits: 1n };
  ring.says({ ...says, state: 'waiting' });
  assert.is(ring.status().state, 'waiting');
  assert.throws(() => ring.command(KIND.RESET, 0), /takes its inputs from the log only/);
  ring.startAt(7n, 16n);
  assert.throws(() => ring.startAt(8n, 16n), /only before it is used/);
  ring.goesLive();
  ring.says({ ...says, state: 'recording' });
  assert.is(ring.put(KIND.CHAR_OUT, 0n, 0, 0n, Buffer.from('x')), 7n);
  assert.is(ring.sees().outDataHead, 24n);
  assert.throws(() => ring.startAt(9n, 24n), /only before it is used/);
});

const page = Buffer.alloc(PAGE, 1);
const BAD: readonly (readonly [string, Given, RegExp])[] = [
  [
    'of the epoch before',
    { part: PART.RAM, epoch: 1, data: page },
    /a piece of epoch 1 where 2 is due/,
  ],
  [
    'of a later epoch',
    { part: PART.RAM, epoch: 4, data: page },
    /a piece of epoch 4 where 2 is due/,
  ],
  [
    'of a block that is not there',
    { part: PART.RAM + 2, epoch: 2, data: page },
    /memory of block 2/,
  ],
  ['beyond its block', { part: PART.RAM, epoch: 2, offset: 4 * PAGE, data: page }, /does not have/],
  [
    'whose end overflows',
    { part: PART.RAM, epoch: 2, offset: 2 ** 53, data: page },
    /does not have/,
  ],
  ['of half a page', { part: PART.RAM, epoch: 2, data: page.subarray(1) }, /does not have/],
  ['of zeros beyond', { part: PART.RAM, epoch: 2, bytes: 5 * PAGE }, /does not have/],
  ['without a length', { part: PART.RAM, epoch: 2, bytes: 0 }, /of another length/],
  ['of an unknown part', { part: 9, epoch: 2, data: page }, /a piece of part 9/],
  [
    'of devices out of order',
    { part: PART.DEVICES, epoch: 2, offset: 8, data: page },
    /out of order/,
  ],
  ['of devices that are zero', { part: PART.DEVICES, epoch: 2, bytes: 8 }, /out of order/],
  ['of packets that are zero', { part: PART.PACKETS, epoch: 2, bytes: 8 }, /packets that are none/],
  [
    'of packets out of order',
    { part: PART.PACKETS, epoch: 2, offset: 8, data: page },
    /packets that are none/,
  ],
  [
    'of too many packets',
    { part: PART.PACKETS, epoch: 2, data: Buffer.alloc(257 * 1024) },
    /packets that are none/,
  ],
  ['of other blocks', { part: PART.BLOCKS, epoch: 2, data: block('a', PAGE) }, /other blocks/],
  [
    'of a disk that is not there',
    { part: PART.DISK + 1, epoch: 2, data: page },
    /a write to disk 1/,
  ],
  [
    'beyond the end of its disk',
    { part: PART.DISK, epoch: 2, offset: DISK_BYTES - SECTOR, data: page },
    /beyond the end of disk 0/,
  ],
  [
    'whose end on the disk overflows',
    { part: PART.DISK, epoch: 2, offset: 2 ** 53, bytes: 2 ** 53 },
    /beyond the end of disk 0/,
  ],
  [
    'of zeros beyond the end of its disk',
    { part: PART.DISK, epoch: 2, offset: SECTOR, bytes: DISK_BYTES },
    /beyond the end of disk 0/,
  ],
  [
    'of a block with another name',
    {
      part: PART.BLOCKS,
      epoch: 2,
      data: Buffer.concat([block('a', 4 * PAGE), block('c', 2 * PAGE)]),
    },
    /a block of memory that is none/,
  ],
  [
    'of a block that is longer than it may be',
    {
      part: PART.BLOCKS,
      epoch: 2,
      data: Buffer.concat([block('a', 4 * PAGE), block('b', 2 * PAGE, 3 * PAGE)]),
    },
    /a block of memory that is none/,
  ],
];

for (const [name, given, expected] of BAD) {
  epochs(`a piece ${name} is refused, and the image stays`, () => {
    const { image, put, first } = vm();
    put(given);
    assert.throws(() => image.take(), expected);
    assert.is(image.digest(), first.ramDigest);
  });
}

epochs('a piece longer than the ring may hold is a broken ring', () => {
  const { image, put } = vm();
  put({ part: PART.RAM, epoch: 2, flags: DATA, bytes: 2 ** 21 });
  assert.throws(() => image.take(), /broke the rules of the ring of state/);
});

epochs.run();
