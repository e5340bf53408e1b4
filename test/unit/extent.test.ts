// SPDX-License-Identifier: Apache-2.0
/** Messages that name more than they have, as a stranger would send them. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as wire from '../../schema/wire.capnp.ts';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { checkExtent } from '../../src/log/extent.ts';
import { CONTROL_BODY_BYTES_MAX, PREFIX_BYTES } from '../../src/log/frame.ts';
import { type Shape, shapeOf } from '../../src/log/shape.ts';
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

extent('a list of structs that says that it is a text is refused in 10 ms', () => {
  for (const [count, textBytes] of AMPLIFIED) {
    const began = process.cpuUsage();
    refused(amplified(count, textBytes, true), /a list of another kind: 2/);
    const { user, system } = process.cpuUsage(began);
    assert.ok(user + system < 10_000, `${user + system} us`);
  }
});

extent('a pointer names what the schema has there, and nothing else', () => {
  const structs: Shape = ['text'];
  const wrong: [expected: Shape, kind: number][] = [
    ...[0, 1, 3, 4, 5, POINTERS, COMPOSITE].map((kind): [Shape, number] => [['text'], kind]),
    ...[BYTES, COMPOSITE].map((kind): [Shape, number] => [['texts'], kind]),
    ...[BYTES, POINTERS].map((kind): [Shape, number] => [[structs], kind]),
  ];
  const one = (kind: number): Words =>
    new Words(6).struct(0, 1, 0, 1).list(1, 2, kind, 1).tag(2, 1, 0, 1);
  for (const [shape, kind] of wrong) {
    assert.throws(() => checkExtent(one(kind).body, shape), /another kind/, `${shape} ${kind}`);
  }
  for (const shape of [['text'], ['texts'], [structs]] satisfies Shape[]) {
    const struct = new Words(4).struct(0, 1, 0, 1).struct(1, 2, 1, 0);
    assert.throws(() => checkExtent(struct.body, shape), /in place of a list/);
  }
  // In a list, too.
  const inside = one(COMPOSITE).list(3, 4, POINTERS, 1);
  assert.throws(() => checkExtent(inside.body, [structs]), /another kind: 6/);
  const headless = one(COMPOSITE).point(2, 1, 3, 0);
  assert.throws(() => checkExtent(headless.body, [structs]), /a list of no structs/);
  assert.throws(() => checkExtent(new Words(2).list(0, 1, BYTES, 1).body, []), /no struct/);
  // A newer peer's field, which is not decoded.
  checkExtent(one(COMPOSITE).body, []);
  checkExtent(new Words(4).struct(0, 1, 0, 1).struct(1, 2, 1, 0).body, []);
});

/** What the generated code takes each pointer for. */
function shapeRead(source: string): unknown[] {
  const shape: unknown[] = [];
  for (const [, what, at, list] of source.matchAll(
    /__S\.get(Text|Data|List)\((\d+), ?([\w.]+)?/g,
  )) {
    shape[Number(at)] = what !== 'List' ? 'text' : list === 'capnp.TextList' ? 'texts' : 'structs';
  }
  return shape;
}

extent('the shapes are those of the schema', () => {
  const source = readFileSync(new URL('../../schema/wire.capnp.ts', import.meta.url), 'utf8');
  const classes = source.split(/^export class /m).slice(1);
  const constructors = new Map<string, unknown>(Object.entries(wire));
  const elements = new Map<string, Shape>();
  for (const text of classes) {
    const name = text.slice(0, text.indexOf(' '));
    const expected = shapeRead(text);
    if (name === 'Disk' || name === 'Setting') {
      elements.set(`${name}s`, expected as Shape);
      continue;
    }
    const shape = shapeOf(constructors.get(name));
    const plain = shape.map((each) => (typeof each === 'string' ? each : 'structs'));
    assert.equal(plain, expected, name);
    for (const [, at, list = ''] of text.matchAll(/__S\.getList\((\d+), \w+\._(\w+)/g)) {
      assert.equal(shape[Number(at)], elements.get(list), `${name} ${list}`);
    }
  }
  assert.is(elements.size, 2);
});

extent('lists without bytes are counted by their elements', () => {
  const none = new Words(4)
    .struct(0, 1, 0, 1)
    .list(1, 2, COMPOSITE, 0)
    .tag(2, 2 ** 29, 0, 0);
  assert.throws(() => checkExtent(none.body, []), /names more than/);
  const voids = new Words(4).struct(0, 1, 0, 1).list(1, 2, 0, 2 ** 28);
  assert.throws(() => checkExtent(voids.body, []), /names more than/);
});

extent('a struct that contains itself is refused', () => {
  assert.throws(
    () => checkExtent(new Words(2).struct(0, 1, 0, 1).struct(1, 1, 0, 1).body, []),
    /more/,
  );
  const lists = new Words(3).struct(0, 1, 0, 1).list(1, 1, POINTERS, 2);
  assert.throws(() => checkExtent(lists.body, []), /names more than/);
});

extent('nothing outside of the message is named', () => {
  assert.throws(() => checkExtent(new Words(2).struct(0, 1, 2, 0).body, []), /words 1 to 3 of 2/);
  assert.throws(() => checkExtent(new Words(2).struct(0, -1, 1, 0).body, []), /words -1 to 0/);
  const root = (words: number): Words => new Words(words).struct(0, 1, 0, 1);
  assert.throws(() => checkExtent(root(3).list(1, 2, BYTES, 9).body, []), /words 2 to 4/);
  const larger = root(4).list(1, 2, COMPOSITE, 1).tag(2, 1, 2, 0);
  assert.throws(() => checkExtent(larger.body, []), /1 larger elements/);
  assert.throws(() => checkExtent(root(3).point(1, 2, 2, 0).body, []), /out of its segment/);
});

extent('and a segment table that is none', () => {
  const { body } = new Words(2);
  body.writeUInt32LE(1, 0);
  assert.throws(() => checkExtent(body, []), /segment table/);
  assert.throws(() => checkExtent(Buffer.alloc(8), []), /not whole words/);
  assert.throws(() => checkExtent(Buffer.alloc(17), []), /not whole words/);
});

extent.run();
