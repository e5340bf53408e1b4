// SPDX-License-Identifier: Apache-2.0
/** Hellos that name more than they have, as a stranger would send them. */
import { readFileSync } from 'node:fs';
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { Hello } from '../../schema/wire.capnp.ts';
import { FRAME, FRAME_MAGIC, PREFIX_BYTES } from '../../src/log/frame.ts';
import type { Frame } from '../../src/wire/parser.ts';

/** Settings and bytes of the text that all of them are: some 6 MB, and some 130, of a frame of 64 KiB. */
export const AMPLIFIED: readonly (readonly [number, number])[] = [
  [50, 60_000],
  [2040, 32_700],
];

const WORD = 8;
const STRUCT = 0;
const LIST = 1;
export const BYTES = 2;
export const POINTERS = 6;
export const COMPOSITE = 7;

/** A message of one segment that is written pointer by pointer. */
export class Words {
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

/**
 * A hello with `count` settings, the name and value of each one text of `textBytes`.
 * @param isDisguised the list is called a text, and what it names is of no text's concern
 */
export function amplified(count: number, textBytes: number, isDisguised = false): Frame {
  const { dataByteLength, pointerLength } = Hello._capnp.size;
  const data = dataByteLength / WORD;
  const settings = data + pointerLength; // the list's pointer is the last
  const tag = settings + 1;
  const text = tag + 1 + 2 * count;
  const words = new Words(text + Math.ceil(textBytes / WORD));
  words.struct(0, 1, data, pointerLength);
  words.list(settings, tag, COMPOSITE, 2 * count).tag(tag, count, 0, 2);
  // Whoever takes it for a list of structs all the same finds the head in the word before.
  if (isDisguised) words.list(settings, tag + 1, BYTES, count);
  for (let at = tag + 1; at < text; at++) words.list(at, text, BYTES, textBytes);
  words.body.fill('a', WORD + text * WORD, WORD + text * WORD + textBytes - 1);
  return helloFrame(words.body);
}

/** What a process uses meanwhile: CPU of its event loop's thread, and more memory. */
export async function usedBy(
  pid: number,
  work: () => Promise<void>,
): Promise<{ readonly cpuMs: number; readonly bytes: number }> {
  const used = () => {
    const [ran = '0'] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const [, resident = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
    return { cpuMs: Number(ran) / 1e6, bytes: Number(resident) * 1024 };
  };
  const before = used();
  await work();
  const after = used();
  return { cpuMs: after.cpuMs - before.cpuMs, bytes: after.bytes - before.bytes };
}
