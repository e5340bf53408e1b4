// SPDX-License-Identifier: Apache-2.0
/**
 * Control messages that are laid out by hand (schema/wire.capnp), because they are sent
 * all the time: frame, segment table, root pointer, then the struct's words. Tests compare
 * them with what the generated code writes.
 */
import { UnderstudyError } from '../base/errors.ts';
import { checkFrame, FRAME_MAGIC, type FrameType, PREFIX_BYTES } from '../log/frame.ts';
import { damaged, type Frame } from './parser.ts';

/** What a struct has, in words of 8 bytes. */
export interface Layout {
  readonly type: FrameType;
  readonly name: string;
  readonly dataWords: number;
  readonly pointerWords: number;
}

/** Offset of the struct's data, after prefix, segment table and root pointer. */
export const STRUCT_AT = PREFIX_BYTES + 16;

/** A frame that lacks the struct's content, and at last its checksums. */
export function draftFixed(layout: Layout, moreBytes = 0): Buffer {
  const { dataWords, pointerWords } = layout;
  const words = dataWords + pointerWords + Math.ceil(moreBytes / 8);
  const frame = Buffer.alloc(STRUCT_AT + words * 8);
  frame.writeUInt32LE(FRAME_MAGIC, 0);
  frame.writeUInt16LE(layout.type, 4);
  frame.writeUInt32LE(frame.length - PREFIX_BYTES, 8);
  frame.writeUInt32LE(1 + words, PREFIX_BYTES + 4); // segment table: one segment
  frame.writeUInt16LE(dataWords, PREFIX_BYTES + 12); // root pointer: the struct follows
  frame.writeUInt16LE(pointerWords, PREFIX_BYTES + 14);
  return frame;
}

/**
 * Where the struct's data is.
 * @throws UnderstudyError peer-protocol
 */
export function openFixed(layout: Layout, frame: Frame): number {
  const { buffer, offset, length } = frame;
  try {
    checkFrame(buffer, offset, length);
  } catch (cause) {
    throw damaged(frame, cause);
  }
  const at = offset + STRUCT_AT;
  const words = layout.dataWords + layout.pointerWords;
  if (
    length < STRUCT_AT + words * 8 ||
    buffer.readUInt32LE(at - 8) !== 0 ||
    buffer.readUInt16LE(at - 4) < layout.dataWords ||
    buffer.readUInt16LE(at - 2) < layout.pointerWords
  ) {
    throw anotherLayout(layout);
  }
  return at;
}

export function anotherLayout({ name }: Layout): UnderstudyError {
  return new UnderstudyError('peer-protocol', `the peer sent ${name} of another layout`);
}
