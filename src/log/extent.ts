// SPDX-License-Identifier: Apache-2.0
/**
 * What a Cap'n Proto message spans, before anything of it is decoded.
 *
 * Its pointers may name the same bytes many times, or a list of elements without bytes: a
 * message of 64 KiB can make a reader that trusts it produce gigabytes ("Amplification
 * attack", capnproto.org/encoding.html). Ours are trees: everything in them is named
 * once, so all that is named together is no more than the message. That holds for a reader that takes each
 * pointer for what it says that it is, so it has to say what the schema says (shape.ts).
 */
import { CorruptLogError } from '../base/corrupt-log.ts';
import type { Pointee, Shape } from './shape.ts';

const WORD_BYTES = 8;
/** One segment: count - 1, then its words; both u32. */
const TABLE_BYTES = 8;
const STRUCT = 0;
const LIST = 1;
/** Bits of an element, by the code in a list's pointer; 7 is a list of structs. */
const ELEMENT_BITS = [0, 1, 8, 16, 32, 64, 64];
const COMPOSITE = 7;
const POINTERS = 6;
/** A list of bytes is a text: it is decoded at once, not element by element. */
const BYTES = 2;

/** `any`: the schema does not have it, so it is counted, and nobody decodes it. */
type Expected = Pointee | 'any';

/** Pointers that are still to be looked at: the first one's word, how many, and whose they are. */
type Pointers = [at: number, count: number, of: Shape | 'texts' | 'any'];

/**
 * @param body a message of one segment, with its segment table
 * @param shape of its root
 * @throws CorruptLogError where it names something outside of itself, more than it has, or what its
 *   schema does not have there
 */
export function checkExtent(body: Uint8Array, shape: Shape): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < TABLE_BYTES + WORD_BYTES || body.length % WORD_BYTES !== 0) {
    throw new CorruptLogError(`message of ${body.length} bytes: not whole words`);
  }
  const words = (body.length - TABLE_BYTES) / WORD_BYTES;
  if (view.getUint32(0, true) !== 0 || view.getUint32(4, true) !== words) {
    throw new CorruptLogError(`message's segment table: expected one segment of ${words} words`);
  }
  const { kind, start, high } = pointerAt(view, 0);
  if (kind !== STRUCT) throw new CorruptLogError('message has no struct');
  const todo: Pointers[] = [];
  let left = words - 1; // the root's pointer is a word of it
  left -= struct(words, start, high, shape, todo);
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const [from, count, of] = next;
    for (let index = 0; index < count; index++) {
      left -= follow(view, words, from + index, expectedOf(of, index), todo);
      if (left < 0) {
        throw new CorruptLogError(`message names more than the ${words} words that it has`);
      }
    }
  }
}

function expectedOf(of: Pointers[2], index: number): Expected {
  if (of === 'texts') return 'text';
  return of === 'any' ? 'any' : (of[index] ?? 'any');
}

function pointerAt(
  view: DataView,
  at: number,
): { readonly kind: number; readonly start: number; readonly high: number; isNull: boolean } {
  const low = view.getUint32(TABLE_BYTES + at * WORD_BYTES, true);
  const high = view.getUint32(TABLE_BYTES + at * WORD_BYTES + 4, true);
  return { kind: low & 3, start: at + 1 + (low >> 2), high, isNull: low === 0 && high === 0 };
}

/**
 * Adds the pointers of what the one at word `at` names to `todo`.
 * @returns words that it names, or elements when they are more
 */
function follow(
  view: DataView,
  words: number,
  at: number,
  expected: Expected,
  todo: Pointers[],
): number {
  const { kind, start, high, isNull } = pointerAt(view, at);
  if (isNull) return 0;
  if (kind === LIST) return list(view, words, start, high, expected, todo);
  if (kind !== STRUCT) throw new CorruptLogError('message has a pointer out of its segment');
  if (expected !== 'any') throw new CorruptLogError('message has a struct in place of a list');
  return struct(words, start, high, 'any', todo);
}

function struct(
  words: number,
  start: number,
  high: number,
  shape: Shape | 'any',
  todo: Pointers[],
): number {
  const data = high & 0xffff;
  const pointers = high >>> 16;
  within(words, start, data + pointers);
  if (pointers > 0) todo.push([start + data, pointers, shape]);
  return data + pointers;
}

function list(
  view: DataView,
  words: number,
  start: number,
  high: number,
  expected: Expected,
  todo: Pointers[],
): number {
  const kind = high & 7;
  const count = high >>> 3;
  const isExpected =
    expected === 'any' ||
    kind === (expected === 'text' ? BYTES : expected === 'texts' ? POINTERS : COMPOSITE);
  if (!isExpected) throw new CorruptLogError(`message has a list of another kind: ${kind}`);
  if (kind === COMPOSITE) {
    return composite(
      view,
      words,
      start,
      count,
      typeof expected === 'string' ? 'any' : expected,
      todo,
    );
  }
  const size = Math.ceil((count * (ELEMENT_BITS[kind] ?? 0)) / 64);
  within(words, start, size);
  if (kind === POINTERS) todo.push([start, count, expected === 'texts' ? 'texts' : 'any']);
  return kind === BYTES ? size : Math.max(size, count);
}

/** A word that says how many elements of what size, and the elements. */
function composite(
  view: DataView,
  words: number,
  start: number,
  size: number,
  shape: Shape | 'any',
  todo: Pointers[],
): number {
  within(words, start, 1 + size);
  const low = view.getUint32(TABLE_BYTES + start * WORD_BYTES, true);
  const high = view.getUint32(TABLE_BYTES + start * WORD_BYTES + 4, true);
  if ((low & 3) !== STRUCT) throw new CorruptLogError('message has a list of no structs');
  const count = low >>> 2;
  const data = high & 0xffff;
  const pointers = high >>> 16;
  if (count * (data + pointers) > size) {
    throw new CorruptLogError(`message has a list of ${size} words with ${count} larger elements`);
  }
  if (pointers > 0) {
    for (let index = 0; index < count; index++) {
      todo.push([start + 1 + index * (data + pointers) + data, pointers, shape]);
    }
  }
  return 1 + Math.max(size, count);
}

function within(words: number, start: number, size: number): void {
  if (start < 0 || start + size > words) {
    throw new CorruptLogError(`message names words ${start} to ${start + size} of ${words}`);
  }
}
