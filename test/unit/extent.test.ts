// SPDX-License-Identifier: Apache-2.0
/** Messages that name more than they have, as a stranger would send them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { Hello } from '../../schema/wire.capnp.ts';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { checkExtent } from '../../src/log/extent.ts';
import { CONTROL_BODY_BYTES_MAX, FRAME, FRAME_MAGIC, PREFIX_BYTES } from '../../src/log/frame.ts';
import { decodeHello } from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';

const extent = suite('what a message spans');

const WORD = 8;
const STRUCT = 0;
const LIST = 1;
const BYTES = 2;
const POINTERS = 6;
const COMPOSITE = 7;

/** A message of one segment that is written pointer by pointer. */
class Words {
  readonly body: Buffer;

  constructor(count: number) {
    this.body = Buffer.alloc(WORD + count * WORD);
    this.body.writeUInt32LE(count, 4);
  }

  /** Puts a pointer at word `at` to word `to`. */
  point(at: number, kind: number, to: number, high: number): this {
    this.body.writeInt32LE((to - at - 1) * 4 + kind, WORD + at * WORD);
    this.body.writeUInt32LE(high, WORD + at * WORD + 4);
    return this;
  }

  list(at: number, to: number, kind: number, count: number): this {
    return this.point(at, LIST, to, count * 8 + kind);
  }

  struct(at: number, to: number, data: number, pointers: number): this {
    return this.point(at, STRUCT, to, pointers * 65_536 + data);
  }

  /** The word before a list of structs. */
  tag(at: number, count: number, data: number, pointers: number): this {
    this.body.writeUInt32LE(count * 4, WORD + at * WORD);
    this.body.writeUInt32LE(pointers * 65_536 + data, WORD + at * WORD + 4);
    return this;
  }
}

/** A whole frame of it, checksums and all, as anybody can make it. */
function helloFrame(body: Buffer): Frame {
  const buffer = Buffer.alloc(PREFIX_BYTES + body.length);
  buffer.writeUInt32LE(FRAME_MAGIC, 0);
  buffer.writeUInt16LE(FRAME.HELLO, 4);
  buffer.writeUInt32LE(body.length, 8);
  body.copy(buffer, PREFIX_BYTES);
  sealControlFrame(buffer);
  return { type: FRAME.HELLO, buffer, offset: 0, length: buffer.length };
}

/** A hello with `count` settings, the name and value of each one text of `textBytes`. */
function amplified(count: number, textBytes: number): Frame {
  const { dataByteLength, pointerLength } = Hello._capnp.size;
  const data = dataByteLength / WORD;
  const settings = data + pointerLength; // the list's pointer is the last
  const tag = settings + 1;
  const text = tag + 1 + 2 * count;
  const words = new Words(text + Math.ceil(textBytes / WORD));
  words.struct(0, 1, data, pointerLength);
  words.list(settings, tag, COMPOSITE, 2 * count).tag(tag, count, 0, 2);
  for (let at = tag + 1; at < text; at++) words.list(at, text, BYTES, textBytes);
  words.body.fill('a', WORD + text * WORD, WORD + text * WORD + textBytes - 1);
  return helloFrame(words.body);
}

const refused = (frame: Frame, what: RegExp) =>
  assert.throws(
    () => decodeHello(frame),
    (error: UnderstudyError) => error.code === 'peer-protocol' && what.test(String(error.cause)),
  );

extent('a hello of 64 KiB that says gigabytes is refused in 10 ms and 10 MB', () => {
  for (const [count, textBytes] of [
    [50, 60_000],
    [2040, 32_700],
  ] as const) {
    const frame = amplified(count, textBytes);
    assert.ok(frame.length <= PREFIX_BYTES + CONTROL_BODY_BYTES_MAX);
    const before = process.memoryUsage().rss;
    // CPU time: a host that is busy with other things says nothing of ours.
    const began = process.cpuUsage();
    refused(frame, /names more than/);
    const { user, system } = process.cpuUsage(began);
    assert.ok(user + system < 10_000, `${user + system} us`);
    assert.ok(process.memoryUsage().rss - before < 10e6);
  }
});

extent('a text that is named twice is refused, however small', () => {
  refused(amplified(1, 8), /names more than/);
});

extent('lists without bytes are counted by their elements', () => {
  const none = new Words(4)
    .struct(0, 1, 0, 1)
    .list(1, 2, COMPOSITE, 0)
    .tag(2, 2 ** 29, 0, 0);
  assert.throws(() => checkExtent(none.body), /names more than/);
  const voids = new Words(4).struct(0, 1, 0, 1).list(1, 2, 0, 2 ** 28);
  assert.throws(() => checkExtent(voids.body), /names more than/);
});

extent('a struct that contains itself is refused', () => {
  assert.throws(() => checkExtent(new Words(2).struct(0, 1, 0, 1).struct(1, 1, 0, 1).body), /more/);
  const lists = new Words(3).struct(0, 1, 0, 1).list(1, 1, POINTERS, 2);
  assert.throws(() => checkExtent(lists.body), /names more than/);
});

extent('nothing outside of the message is named', () => {
  assert.throws(() => checkExtent(new Words(2).struct(0, 1, 2, 0).body), /words 1 to 3 of 2/);
  assert.throws(() => checkExtent(new Words(2).struct(0, -1, 1, 0).body), /words -1 to 0/);
  assert.throws(() => checkExtent(new Words(2).list(0, 1, BYTES, 9).body), /words 1 to 3/);
  assert.throws(
    () => checkExtent(new Words(3).list(0, 1, COMPOSITE, 1).tag(1, 1, 2, 0).body),
    /1 larger elements/,
  );
  assert.throws(() => checkExtent(new Words(2).point(0, 2, 1, 0).body), /out of its segment/);
});

extent('and a segment table that is none', () => {
  const { body } = new Words(2);
  body.writeUInt32LE(1, 0);
  assert.throws(() => checkExtent(body), /segment table/);
  assert.throws(() => checkExtent(Buffer.alloc(8)), /not whole words/);
  assert.throws(() => checkExtent(Buffer.alloc(17)), /not whole words/);
});

extent.run();
