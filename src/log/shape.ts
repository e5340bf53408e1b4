// SPDX-License-Identifier: Apache-2.0
/**
 * What the pointers of each control message name, as schema/wire.capnp has it. Whoever decodes a
 * message takes a pointer for that, whatever the pointer says of itself: of a text that is read as
 * a list of structs nobody has looked at the head, nor at what the elements name.
 */
import * as wire from '../../schema/wire.capnp.ts';
import { assert } from '../base/assert.ts';

/** A text, or data; a list of texts; a list of structs with these pointers. */
export type Pointee = 'text' | 'texts' | Shape;
/** A struct's pointers, in order. More of them, a newer peer's, are not decoded. */
export type Shape = readonly Pointee[];

const DISKS: Shape = ['text'];
const SETTINGS: Shape = ['text', 'text'];

const texts = (count: number): Pointee[] => Array.from({ length: count }, () => 'text');

const SHAPES = new Map<unknown, Shape>([
  [wire.Hello, [...texts(4), DISKS, ...texts(4), SETTINGS]],
  [wire.Welcome, [...texts(6), 'texts', DISKS, ...texts(2), SETTINGS]],
  [wire.Refuse, texts(4)],
  [wire.Ack, []],
  [wire.Heartbeat, texts(1)],
  [wire.Goodbye, texts(2)],
  [wire.SegmentHeader, texts(2)],
  [wire.Blocks, texts(1)],
  [wire.Start, []],
  [wire.Protected, []],
  [wire.State, texts(1)],
  [wire.Checkpoint, texts(1)],
]);

/** @param ctor a struct of the schema */
export function shapeOf(ctor: unknown): Shape {
  const shape = SHAPES.get(ctor);
  assert(shape !== undefined, 'every control message has a shape');
  return shape;
}
