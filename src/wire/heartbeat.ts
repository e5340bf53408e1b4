// SPDX-License-Identifier: Apache-2.0
/**
 * The heartbeat (schema/wire.capnp). An idle pair does little else than send and read
 * heartbeats, and code that runs so rarely is never optimised: the generated code took
 * a fifth of a millisecond for each.
 */
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { atIcount, icountOf, type Position } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import { anotherLayout, draftFixed, type Layout, openFixed, STRUCT_AT } from './fixed.ts';
import type { Frame } from './parser.ts';

export interface Heartbeat {
  readonly counter: bigint;
  readonly sentAtNs: bigint;
  readonly position: Position;
  readonly term: number;
  readonly state: string;
  readonly echoCounter: bigint;
  readonly echoSentAtNs: bigint;
  readonly visits: bigint;
}

/** A state's text follows its pointer at once. */
const LAYOUT: Layout = {
  type: FRAME.HEARTBEAT,
  name: 'a heartbeat',
  dataWords: 9,
  pointerWords: 1,
};
/** A list pointer, at offset 0, to bytes: their number, with a zero at the end, is shifted by 3. */
const POINTER_TO_TEXT = 1;
const BYTES_TAG = 2;

export function encodeHeartbeat(beat: Heartbeat): Buffer {
  const textBytes = Buffer.byteLength(beat.state) + 1;
  const frame = draftFixed(LAYOUT, textBytes);
  frame.writeBigUInt64LE(beat.counter, STRUCT_AT + 8);
  frame.writeBigUInt64LE(beat.sentAtNs, STRUCT_AT + 16);
  frame.writeBigUInt64LE(icountOf(beat.position.point), STRUCT_AT + 24);
  frame.writeBigInt64LE(beat.position.vtimeNs, STRUCT_AT + 32);
  frame.writeUInt32LE(beat.term, STRUCT_AT + 40);
  frame.writeBigUInt64LE(beat.echoCounter, STRUCT_AT + 48);
  frame.writeBigUInt64LE(beat.echoSentAtNs, STRUCT_AT + 56);
  frame.writeBigUInt64LE(beat.visits, STRUCT_AT + 64);
  frame.writeUInt32LE(POINTER_TO_TEXT, STRUCT_AT + 72);
  frame.writeUInt32LE(textBytes * 8 + BYTES_TAG, STRUCT_AT + 76);
  frame.write(beat.state, STRUCT_AT + 80);
  sealControlFrame(frame);
  return frame;
}

/** @throws UnderstudyError peer-protocol */
export function decodeHeartbeat(frame: Frame): Heartbeat {
  const { buffer, offset, length } = frame;
  const at = openFixed(LAYOUT, frame);
  const list = buffer.readUInt32LE(at + 76);
  const textAt = at + 80;
  const textEnd = textAt + (list >>> 3) - 1;
  if (
    buffer.readUInt16LE(at - 4) !== LAYOUT.dataWords ||
    buffer.readUInt32LE(at + 72) !== POINTER_TO_TEXT ||
    (list & 7) !== BYTES_TAG ||
    textEnd < textAt ||
    textEnd >= offset + length
  ) {
    throw anotherLayout(LAYOUT);
  }
  return {
    counter: buffer.readBigUInt64LE(at + 8),
    sentAtNs: buffer.readBigUInt64LE(at + 16),
    position: {
      point: atIcount(buffer.readBigUInt64LE(at + 24)),
      vtimeNs: buffer.readBigInt64LE(at + 32),
    },
    term: buffer.readUInt32LE(at + 40),
    state: buffer.toString('utf8', textAt, textEnd),
    echoCounter: buffer.readBigUInt64LE(at + 48),
    echoSentAtNs: buffer.readBigUInt64LE(at + 56),
    visits: buffer.readBigUInt64LE(at + 64),
  };
}
