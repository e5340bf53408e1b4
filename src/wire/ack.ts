// SPDX-License-Identifier: Apache-2.0
/**
 * The ack (schema/wire.capnp): on the path of every output, so that it is written
 * by hand; a test reads it back with the generated reader.
 */
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { atIcount, icountOf, type Position } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import { draftFixed, type Layout, openFixed, STRUCT_AT } from './fixed.ts';
import type { Frame } from './parser.ts';

export interface Ack {
  readonly sequence: bigint;
  readonly recordEnd: bigint;
  readonly executed: Position;
  readonly sentAtNs: bigint;
  readonly term: number;
  readonly durable: boolean;
  readonly ready: boolean;
  readonly batchChecksum: bigint;
  readonly inPending: bigint;
}

const LAYOUT: Layout = { type: FRAME.ACK, name: 'an ack', dataWords: 9, pointerWords: 0 };
const ACK_DURABLE = 1;
const ACK_READY = 2;

export function encodeAck(ack: Ack): Buffer {
  const frame = draftFixed(LAYOUT);
  frame.writeBigUInt64LE(ack.sequence, STRUCT_AT + 8);
  frame.writeBigUInt64LE(ack.recordEnd, STRUCT_AT + 16);
  frame.writeBigUInt64LE(icountOf(ack.executed.point), STRUCT_AT + 24);
  frame.writeBigInt64LE(ack.executed.vtimeNs, STRUCT_AT + 32);
  frame.writeBigUInt64LE(ack.sentAtNs, STRUCT_AT + 40);
  frame.writeUInt32LE(ack.term, STRUCT_AT + 48);
  frame[STRUCT_AT + 52] = (ack.durable ? ACK_DURABLE : 0) | (ack.ready ? ACK_READY : 0);
  frame.writeBigUInt64LE(ack.batchChecksum, STRUCT_AT + 56);
  frame.writeBigUInt64LE(ack.inPending, STRUCT_AT + 64);
  sealControlFrame(frame);
  return frame;
}

/** @throws UnderstudyError peer-protocol */
export function decodeAck(frame: Frame): Ack {
  const { buffer } = frame;
  const at = openFixed(LAYOUT, frame);
  const flags = buffer.readUInt8(at + 52);
  return {
    sequence: buffer.readBigUInt64LE(at + 8),
    recordEnd: buffer.readBigUInt64LE(at + 16),
    executed: {
      point: atIcount(buffer.readBigUInt64LE(at + 24)),
      vtimeNs: buffer.readBigInt64LE(at + 32),
    },
    sentAtNs: buffer.readBigUInt64LE(at + 40),
    term: buffer.readUInt32LE(at + 48),
    durable: (flags & ACK_DURABLE) !== 0,
    ready: (flags & ACK_READY) !== 0,
    batchChecksum: buffer.readBigUInt64LE(at + 56),
    inPending: buffer.readBigUInt64LE(at + 64),
  };
}
