// SPDX-License-Identifier: Apache-2.0
/** Pieces of state as frames: their bytes, and what is refused of a transfer, by name. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkFrame, sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { intake, stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { State } from '../../schema/wire.capnp.ts';
import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { errorCodeOf } from '../../src/base/errors.ts';
import { FRAME, frameBytes, openControl, STATE_BODY_BYTES_MAX } from '../../src/log/frame.ts';

const MIB = 1 << 20;
const noise = (bytes: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => (at * 7 + 1) % 251));

const frames = suite('frames of state');

frames("the addon's bytes are what the schema says, of every length", () => {
  for (const bytes of [1, 7, 8, 9, 4096, 32 * 1024 + 3, MIB]) {
    const data = noise(bytes);
    const piece = { ordinal: 1n << 60n, part: 0xffff_ffff, offset: 1n << 61n, epoch: 1n << 62n };
    const frame = stateFrame({ ...piece, data });
    const root = openControl(frame, 0, frame.length, FRAME.STATE, State);
    assert.is(root.getOrdinal(), piece.ordinal);
    assert.is(root.getPart(), piece.part);
    assert.is(root.getFlags(), 1);
    assert.is(root.getOffset(), piece.offset);
    assert.is(root.getEpoch(), piece.epoch);
    assert.is(root.getBytes(), BigInt(bytes));
    assert.ok(Buffer.from(root.getData().toUint8Array()).equals(data), `${bytes} bytes`);
    assert.is(frameBytes(frame, 0, frame.length), frame.length);
  }
});

frames('zeros of any length have a head and no data', () => {
  const frame = stateFrame({ ordinal: 0n, part: 1, offset: 8n, bytes: 1n << 50n });
  const root = openControl(frame, 0, frame.length, FRAME.STATE, State);
  assert.is(frame.length, 88);
  assert.is(root.getFlags(), 0);
  assert.is(root.getBytes(), 1n << 50n);
  assert.is(root.getEpoch(), 0n);
  assert.not.ok(root.hasData());
});

frames('every flipped bit and every truncation is found', () => {
  for (const frame of [
    stateFrame({ ordinal: 3n, part: 1, offset: 16n, data: noise(100) }),
    stateFrame({ ordinal: 3n, part: 1, offset: 16n, bytes: 4096n }),
  ]) {
    checkFrame(frame, 0, frame.length);
    const isCorrupt = (error: unknown): boolean => error instanceof CorruptLogError;
    for (let bit = 0; bit < frame.length * 8; bit += 1) {
      const broken = Buffer.from(frame);
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => checkFrame(broken, 0, broken.length), isCorrupt, `bit ${bit}`);
    }
    for (let bytes = 0; bytes < frame.length; bytes += 1) {
      assert.throws(() => checkFrame(frame, 0, bytes), isCorrupt, `${bytes} bytes`);
    }
  }
});

/** Checksums are right: a peer that means it. */
function lie(frame: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(frame);
  change(bytes);
  sealControlFrame(bytes);
  return bytes;
}

const AT = { root: 24, flags: 52, bytes: 64, pointer: 80 } as const;

frames('another layout with right checksums is refused', () => {
  const good = stateFrame({ ordinal: 0n, part: 0, offset: 0n, data: noise(64) });
  const lies: [RegExp, (bytes: Buffer) => void][] = [
    [/root pointer/, (bytes) => bytes.writeUInt16LE(2, AT.root + 6)],
    [/piece flags/, (bytes) => bytes.writeUInt32LE(0, AT.flags)],
    [/piece flags/, (bytes) => bytes.writeUInt32LE(5, AT.flags)],
    [/piece flags/, (bytes) => bytes.writeUInt32LE(2, AT.flags)],
    [
      /a patch of at most 17179869184 bytes/,
      (bytes) => {
        bytes.writeUInt32LE(3, AT.flags);
        bytes.writeBigUInt64LE(2n ** 34n + 1n, AT.bytes);
      },
    ],
    [/at least one byte/, (bytes) => bytes.writeBigUInt64LE(0n, AT.bytes)],
    [/data pointer/, (bytes) => bytes.writeBigUInt64LE(63n, AT.bytes)],
    [/at most 1048576 bytes of data/, (bytes) => bytes.writeBigUInt64LE(1n << 40n, AT.bytes)],
    [/piece flags/, (bytes) => bytes.writeBigUInt64LE(0n, AT.pointer)],
    [
      /piece length/,
      (bytes) => {
        bytes.writeUInt32LE(0, AT.flags);
        bytes.writeBigUInt64LE(0n, AT.pointer);
      },
    ],
  ];
  for (const [what, change] of lies) {
    const bad = lie(good, change);
    assert.throws(() => checkFrame(bad, 0, bad.length), what);
  }
});

frames('an oversized one is refused from its prefix', () => {
  const good = stateFrame({ ordinal: 0n, part: 0, offset: 0n, data: noise(MIB) });
  assert.is(good.length, 16 + STATE_BODY_BYTES_MAX);
  const longer = Buffer.concat([good, Buffer.alloc(8)]);
  longer.writeUInt32LE(STATE_BODY_BYTES_MAX + 8, 8);
  assert.throws(() => sealControlFrame(longer), /type 13 is oversized: at most 1048648 bytes/);
});

frames.run();

const taking = suite('taking a transfer apart');

const DISK = 1000;
const FILE = 100;

/** Part 0: a disk of which some comes; part 1: a whole file. */
function begun() {
  const it = intake();
  assert.is(it.add(DISK, false), 0);
  assert.is(it.add(FILE, true), 1);
  return it;
}

const zeros = (ordinal: bigint, part: number, offset: bigint, bytes: bigint): Buffer =>
  stateFrame({ ordinal, part, offset, bytes });

const refuses = (run: () => unknown, why: RegExp): void => {
  assert.throws(run, (error: unknown) => errorCodeOf(error) === 'peer-protocol');
  assert.throws(run, why);
};

taking('pieces come back as they went, some of a disk and all of a file', () => {
  const it = begun();
  const data = noise(50);
  assert.equal(it.take(stateFrame({ ordinal: 0n, part: 0, offset: 100n, data })), {
    ordinal: 0n,
    part: 0,
    offset: 100n,
    bytes: 50n,
    data,
  });
  assert.is(it.take(zeros(1n, 0, 900n, 100n)).data, null);
  it.take(zeros(2n, 1, 0n, 60n));
  it.take(stateFrame({ ordinal: 3n, part: 1, offset: 60n, data: noise(40) }));
  it.end(4n);
});

taking('a refused piece is named, and changes nothing', () => {
  const it = begun();
  it.take(zeros(0n, 0, 100n, 100n));
  for (const [frame, why] of [
    [zeros(0n, 0, 100n, 100n), /is repeated: number 0 after 0/],
    [zeros(2n, 0, 300n, 100n), /comes too early: number 2, 1 is missing/],
    [zeros(1n, 2, 0n, 1n), /is of part 2: there are 2/],
    [zeros(1n, 0xffff_ffff, 0n, 1n), /is of part 4294967295: there are 2/],
    [zeros(1n, 0, 901n, 100n), /out of bounds: 100 bytes at 901 of part 0, which has 1000/],
    [zeros(1n, 0, 1001n, 1n), /out of bounds/],
    [zeros(1n, 0, (1n << 64n) - 1n, 1n), /out of bounds/],
    [zeros(1n, 0, 500n, (1n << 64n) - 100n), /out of bounds/],
    [zeros(1n, 0, 199n, 10n), /overlaps another: at 199 of part 0, which has come up to 200/],
    [zeros(1n, 1, 1n, 10n), /leaves a gap: at 1 of part 1, which has come up to 0/],
    [zeros(1n, 0, 300n, 0n), /is empty/],
    [stateFrame({ ordinal: 1n, part: 0, offset: 300n, bytes: 1n, epoch: 1n }), /is of epoch 1/],
    [
      stateFrame({ ordinal: 1n, part: 0, offset: 300n, bytes: 9n, data: noise(3), isPatch: true }),
      /is a patch: a join has none/,
    ],
    [Buffer.from(zeros(1n, 0, 300n, 1n)).fill(1, 40, 48), /is damaged: piece checksum/],
    [Buffer.alloc(80), /is damaged: frame magic/],
    [zeros(1n, 0, 300n, 1n).subarray(0, 60), /is damaged: frame is cut short/],
  ] as const) {
    refuses(() => it.take(frame), why);
  }
  it.take(zeros(1n, 1, 0n, 10n));
  refuses(() => it.take(zeros(2n, 0, 500n, 1n)), /goes back: of part 0 after part 1/);
  refuses(() => it.take(zeros(2n, 1, 5n, 10n)), /overlaps another/);
  it.take(zeros(2n, 1, 10n, 90n));
  it.end(3n);
});

taking('what is missing at the end is named', () => {
  const it = begun();
  refuses(() => it.end(1n), /pieces of state are missing: 1 were sent, 0 came/);
  refuses(() => it.end(0n), /part 1 of the state is missing from byte 0 of 100 on/);
  it.take(zeros(0n, 1, 0n, 99n));
  refuses(() => it.end(1n), /part 1 of the state is missing from byte 99 of 100 on/);
  it.take(zeros(1n, 1, 99n, 1n));
  refuses(() => it.end(3n), /3 were sent, 2 came/);
  it.end(2n);
});

taking.run();
