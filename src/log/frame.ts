// SPDX-License-Identifier: Apache-2.0
/**
 * Frames: the same bytes on the wire and in a segment (docs/log-format.md).
 *
 * 16 bytes of prefix (u32 magic, u16 type, u16 flags, u32 bytes of body, u32 crc32
 * of these 12), then the body: one Cap'n Proto message of one segment.
 */
import { crc32 } from 'node:zlib';
import { Message, type Struct, type StructCtor } from 'capnp-ts';
import { checkFrame, type FrameInfo, sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { messageOf } from '../base/errors.ts';
import { checkExtent } from './extent.ts';
import { shapeOf } from './shape.ts';

/** Types of frame. Never reused: 10 was a join's PIECE until wire version 2. */
export const FRAME = {
  BATCH: 1,
  HELLO: 2,
  WELCOME: 3,
  REFUSE: 4,
  ACK: 5,
  HEARTBEAT: 6,
  GOODBYE: 7,
  SEGMENT_HEADER: 8,
  BLOCKS: 9,
  START: 11,
  PROTECTED: 12,
  STATE: 13,
  CHECKPOINT: 14,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

export const FRAME_MAGIC = 0x31524455;
export const PREFIX_BYTES = 16;
export const BATCH_BODY_BYTES_MAX = 8 * 1024 * 1024;
export const CONTROL_BODY_BYTES_MAX = 64 * 1024;
/** A piece of state: 72 bytes before 1 MiB of data. */
export const STATE_BODY_BYTES_MAX = 72 + 1024 * 1024;

const BODY_BYTES_MAX = new Map<number, number>([
  [FRAME.BATCH, BATCH_BODY_BYTES_MAX],
  [FRAME.STATE, STATE_BODY_BYTES_MAX],
]);

/**
 * Bytes of the whole frame at `offset`, or null if not even its prefix is there:
 * what a reader of a stream must have before it calls `checkFrame`.
 * @throws CorruptLogError if the prefix is none, so that nobody waits for the 4 GB
 *   that a broken length asks for
 */
export function frameBytes(buf: Buffer, offset: number, available: number): number | null {
  if (available < PREFIX_BYTES) return null;
  const magic = buf.readUInt32LE(offset);
  if (magic !== FRAME_MAGIC) {
    throw new CorruptLogError(`frame magic: expected ${hex(FRAME_MAGIC)}, found ${hex(magic)}`);
  }
  const crc = crc32(buf.subarray(offset, offset + 12));
  const found = buf.readUInt32LE(offset + 12);
  if (crc !== found) {
    throw new CorruptLogError(`frame prefix crc32: expected ${hex(crc)}, found ${hex(found)}`);
  }
  const type = buf.readUInt16LE(offset + 4);
  const bodyBytes = buf.readUInt32LE(offset + 8);
  const bytesMax = BODY_BYTES_MAX.get(type) ?? CONTROL_BODY_BYTES_MAX;
  if (bodyBytes > bytesMax) {
    throw new CorruptLogError(
      `frame of type ${type} is oversized: at most ${bytesMax} bytes, found ${bodyBytes}`,
    );
  }
  return PREFIX_BYTES + bodyBytes;
}

/** A control message that is being written: fill in `root`, then `frame()`. */
export interface ControlDraft<T extends Struct> {
  readonly root: T;
  /** The finished frame, checksum included. Once. */
  frame(): Buffer;
}

/** Starts a control message of any type but BATCH and STATE. */
export function draftControl<T extends Struct>(
  type: FrameType,
  ctor: StructCtor<T>,
): ControlDraft<T> {
  assert(type !== FRAME.BATCH && type !== FRAME.STATE, 'those are made by the addon');
  const message = new Message();
  const root = message.initRoot(ctor);
  return {
    root,
    frame() {
      const body = new Uint8Array(message.toArrayBuffer());
      const frame = Buffer.alloc(PREFIX_BYTES + body.length);
      frame.writeUInt32LE(FRAME_MAGIC, 0);
      frame.writeUInt16LE(type, 4);
      frame.writeUInt32LE(body.length, 8);
      frame.set(body, PREFIX_BYTES);
      sealControlFrame(frame);
      return frame;
    },
  };
}

/**
 * Verifies the control frame at `offset` and returns its root struct, which reads
 * from a copy. Text and lists inside are still a stranger's: read them through
 * `reading`, or expect a RangeError.
 */
export function openControl<T extends Struct>(
  buf: Buffer,
  offset: number,
  length: number,
  type: FrameType,
  ctor: StructCtor<T>,
): T {
  const info = checkFrame(buf, offset, length);
  if (info.type !== type) {
    throw new CorruptLogError(`frame type: expected ${type}, found ${info.type}`);
  }
  const body = Uint8Array.prototype.slice.call(buf, info.bodyOffset, offset + info.bytes);
  checkExtent(body, shapeOf(ctor));
  return reading(() => new Message(body.buffer, false).getRoot(ctor));
}

/** Runs `read`; what the Cap'n Proto reader objects to becomes a CorruptLogError. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptLogError) throw error;
    throw new CorruptLogError(`message cannot be decoded: ${messageOf(error)}`);
  }
}

export { checkFrame, type FrameInfo };

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
