// SPDX-License-Identifier: Apache-2.0
/** Messages that name more than they have, as a stranger would send them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { checkExtent } from '../../src/log/extent.ts';
import { CONTROL_BODY_BYTES_MAX, PREFIX_BYTES } from '../../src/log/frame.ts';
import { decodeHello } from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';
import { AMPLIFIED, amplified, BYTES, COMPOSITE, POINTERS, Words } from '../lib/hostile-hello.ts';

const extent = suite('what a message spans');

const refused = (frame: Frame, what: RegExp) =>
  assert.throws(
    () => decodeHello(frame),
    (error: UnderstudyError) => error.code === 'peer-protocol' && what.test(String(error.cause)),
  );

extent('a hello of 64 KiB that says gigabytes is refused in 10 ms and 10 MB', () => {
  for (const [count, textBytes] of AMPLIFIED) {
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
