// SPDX-License-Identifier: Apache-2.0
/**
 * What a Cap'n Proto message spans, before anything of it is decoded.
 *
 * Its pointers may name the same bytes many times, or a list of elements without bytes: a
 * message of 64 KiB can make a reader that trusts it produce gigabytes ("Amplification
 * attack", capnproto.org/encoding.html). Ours are trees: everything in them is named
 * once, so all that is named together is no more than the message.
 */
import { CorruptLogError } from '../base/corrupt-log.ts';

const WORD_BYTES = 8;
/** One segment: count - 1, then its words; both u32. */
const TABLE_BYTES = 8;
/** Bits of an element, by the code in a list's pointer; 7 is a list of structs. */
const ELEMENT_BITS = [0, 1, 8, 16, 32, 64, 64];
const COMPOSITE = 7;
const POINTERS = 6;
/** A list of bytes is a text: it is decoded at once, not element by element. */
const BYTES = 2;

/** Pointers that are still to be looked at: the first one's word, and how many. */
type Pointers = [at: number, count: number];

/**
 * @param body a message of one segment, with its segment table
 * @throws CorruptLogError where it names something outside of itself, or more than it has
 */
export function checkExtent(body: Uint8Array): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < TABLE_BYTES + WORD_BYTES || body.length % WORD_BYTES !== 0) {
    throw new CorruptLogError(`message of ${body.length} bytes: not whole words`);
  }
  const words = (body.length - TABLE_BYTES) / WORD_BYTES;
  if (view.getUint32(0, true) !== 0 || view.getUint32(4, true) !== words) {
    throw new CorruptLogError(`message's segment table: expected one segment of ${words} words`);
  }
  let left = words - 1; // the root's pointer is a word of it
  const todo: Pointers[] = [[0, 1]];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const [from, count] = next;
    for (let at = from; at < from + count; at++) {
      left -= follow(view, words, at, todo);
      if (left < 0) {
        throw new CorruptLogError(`message names more than the ${words} words that it has`);
      }
    }
  }
}

/**
 * Adds the pointers of what the one at word `at` names to `todo`.
 * @returns words that it names, or elements when they are more
 */
function follow(view: DataView, words: number, at: number, todo: Pointers[]): number {
  const low = view.getUint32(TABLE_BYTES + at * WORD_BYTES, true);
  const high = view.getUint32(TABLE_BYTES + at * WORD_BYTES + 4, true);
  if (low === 0 && high === 0) return 0;
  const start = at + 1 + (low >> 2);
  switch (low & 3) {
    case 0:
      return struct(words, start, high, todo);
    case 1:
      return list(view, words, start, high, todo);
    default:
      throw new CorruptLogError('message has a pointer out of its segment');
  }
}

function struct(words: number, start: number, high: number, todo: Pointers[]): number {
  const data = high & 0xffff;
  const pointers = high >>> 16;
  within(words, start, data + pointers);
  if (pointers > 0) todo.push([start + data, pointers]);
  return data + pointers;
}

function list(
  view: DataView,
  words: number,
  start: number,
  high: number,
  todo: Pointers[],
): number {
  const kind = high & 7;
  const count = high >>> 3;
  if (kind === COMPOSITE) return composite(view, words, start, count, todo);
  const size = Math.ceil((count * (ELEMENT_BITS[kind] ?? 0)) / 64);
  within(words, start, size);
  if (kind === POINTERS) todo.push([start, count]);
  return kind === BYTES ? size : Math.max(size, count);
}

/** A word that says how many elements of what size, and the elements. */
function composite(
  view: DataView,
  words: number,
  start: number,
  size: number,
  todo: Pointers[],
): number {
  within(words, start, 1 + size);
  const count = view.getUint32(TABLE_BYTES + start * WORD_BYTES, true) >>> 2;
  const high = view.getUint32(TABLE_BYTES + start * WORD_BYTES + 4, true);
  const data = high & 0xffff;
  const pointers = high >>> 16;
  if (count * (data + pointers) > size) {
    throw new CorruptLogError(`message has a list of ${size} words with ${count} larger elements`);
  }
  if (pointers > 0) {
    for (let index = 0; index < count; index++) {
      todo.push([start + 1 + index * (data + pointers) + data, pointers]);
    }
  }
  return 1 + Math.max(size, count);
}

function within(words: number, start: number, size: number): void {
  if (start < 0 || start + size > words) {
    throw new CorruptLogError(`message names words ${start} to ${start + size} of ${words}`);
  }
}
