// SPDX-License-Identifier: Apache-2.0
/** Pieces of an epoch that no VM of ours would send, and an image that they leave as it was. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { Epochs, putPiece } from '../../native/kvm-exit-log/testing.ts';

const epochs = suite('epochs');
const PART = { BLOCKS: 0, DEVICES: 1, END: 2, RAM: 16 } as const;
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

/** A VM of two blocks of memory, after an epoch in which the first page was written. */
function vm() {
  const ring = new ExitRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: MIB });
  const image = new Epochs(ring);
  const put = ({ part, offset = 0, bytes, epoch = 1, flags, data }: Given): void =>
    putPiece(ring, {
      part,
      flags: flags ?? (data === undefined ? 0 : DATA),
      offset: BigInt(offset),
      bytes: BigInt(bytes ?? data?.length ?? 0),
      epoch: BigInt(epoch),
      data: data ?? null,
    });
  put({
    part: PART.BLOCKS,
    data: Buffer.concat([block('a', 4 * PAGE), block('b', 2 * PAGE, PAGE)]),
  });
  put({ part: PART.RAM, data: Buffer.alloc(PAGE, 7) });
  put({ part: PART.DEVICES, data: Buffer.from('devices!') });
  put({ part: PART.END, offset: 5 });
  const first = image.take();
  assert.ok(first !== null);
  assert.is(first.number, 1n);
  assert.is(first.ordinal, 5n);
  return { ring, image, put, first };
}

epochs('what is the same again has the same digest, other memory another', () => {
  const { image, put, first } = vm();
  const next = (epoch: number, fill: number): bigint | undefined => {
    put({ part: PART.RAM, epoch, data: Buffer.alloc(PAGE, fill) });
    put({ part: PART.END, epoch, offset: 6 });
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
  const { image, put, first } = vm();
  put({
    part: PART.BLOCKS,
    epoch: 2,
    data: Buffer.concat([block('a', 4 * PAGE), block('b', 2 * PAGE)]),
  });
  put({ part: PART.END, epoch: 2, offset: 6 });
  assert.is.not(image.take()?.ramDigest, first.ramDigest);
  assert.equal(image.blocks(), [
    ['a', 4 * PAGE],
    ['b', 2 * PAGE],
  ]);
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
  ['of other blocks', { part: PART.BLOCKS, epoch: 2, data: block('a', PAGE) }, /other blocks/],
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
