// SPDX-License-Identifier: Apache-2.0
/** Frames of control messages, and prefixes that a stream's reader must not believe. */
import { crc32 } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkFrame } from '../../native/kvm-exit-log/index.ts';
import { Hello } from '../../schema/wire.capnp.ts';
import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { draftControl, FRAME, frameBytes, openControl, reading } from '../../src/log/frame.ts';

function hello(): Buffer {
  const draft = draftControl(FRAME.HELLO, Hello);
  draft.root.setProtocol('understudy');
  draft.root.setName('demo');
  draft.root.setVmIdHi(0xffff_ffff_ffff_ffffn);
  const disks = draft.root.initDisks(2);
  disks.get(0).setName('disk.raw');
  disks.get(1).setXxh64(7n);
  return draft.frame();
}

function prefix(type: number, bytes: number): Buffer {
  const buf = Buffer.alloc(16);
  buf.writeUInt32LE(0x31524455, 0);
  buf.writeUInt16LE(type, 4);
  buf.writeUInt32LE(bytes, 8);
  buf.writeUInt32LE(crc32(buf.subarray(0, 12)), 12);
  return buf;
}

const isCorrupt = (reason: RegExp) => (error: unknown) =>
  error instanceof CorruptLogError && reason.test(error.reason) && error.exitCode === 11;

test('a control message comes back as it was written, at any offset', () => {
  const frame = hello();
  for (const offset of [0, 1, 7, 8]) {
    const buf = Buffer.concat([Buffer.alloc(offset, 0xee), frame, Buffer.alloc(9, 0xee)]);
    const root = openControl(buf, offset, buf.length - offset, FRAME.HELLO, Hello);
    assert.is(root.getProtocol(), 'understudy');
    assert.is(root.getName(), 'demo');
    assert.is(root.getVmIdHi(), 0xffff_ffff_ffff_ffffn);
    assert.is(root.getDisks().get(0).getName(), 'disk.raw');
    assert.is(root.getDisks().get(1).getXxh64(), 7n);
    assert.is(frameBytes(buf, offset, buf.length - offset), frame.length);
  }
});

test('every flipped bit and every truncation of a control frame is found', () => {
  const frame = hello();
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const broken = Buffer.from(frame);
    broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => checkFrame(broken, 0, broken.length), isCorrupt(/./));
  }
  for (let bytes = 0; bytes < frame.length; bytes++) {
    assert.throws(() => checkFrame(frame, 0, bytes), isCorrupt(/cut short/));
  }
});

test('a message of another type is refused by number', () => {
  const frame = hello();
  assert.throws(
    () => openControl(frame, 0, frame.length, FRAME.WELCOME, Hello),
    isCorrupt(/expected 3, found 2/),
  );
});

test('oversized, unknown and odd lengths are refused from the prefix alone', () => {
  assert.throws(() => frameBytes(prefix(1, 0xffff_fff8), 0, 16), isCorrupt(/oversized/));
  assert.throws(() => frameBytes(prefix(2, 65_544), 0, 16), isCorrupt(/oversized.*65536/));
  assert.throws(() => frameBytes(prefix(13, 1_048_656), 0, 16), isCorrupt(/oversized.*1048648/));
  assert.throws(() => checkFrame(prefix(15, 24), 0, 16), isCorrupt(/expected 1 to 14, found 15/));
  assert.throws(() => checkFrame(prefix(0, 24), 0, 16), isCorrupt(/found 0/));
  assert.throws(() => checkFrame(prefix(2, 30), 0, 16), isCorrupt(/whole words/));
  assert.throws(() => checkFrame(prefix(1, 8_388_616), 0, 16), isCorrupt(/oversized/));
  assert.throws(() => frameBytes(Buffer.alloc(16), 0, 16), isCorrupt(/magic/));
  assert.is(frameBytes(Buffer.alloc(15), 0, 15), null);
});

test('what the Cap’n Proto reader objects to is a corrupt message', () => {
  assert.throws(
    () =>
      reading(() => {
        throw new RangeError('offset is outside the bounds');
      }),
    isCorrupt(/cannot be decoded/),
  );
});

test.run();
