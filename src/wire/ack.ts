// SPDX-License-Identifier: Apache-2.0
/**
 * The ack (schema/wire.capnp): on the path of every output, so that it is written
 * by hand; a test reads it back with the generated reader.
 */
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError } from '../base/errors.ts';
import { atIcount, icountOf, type Position } from '../base/position.ts';
import { checkFrame, FRAME, FRAME_MAGIC, PREFIX_BYTES } from '../log/frame.ts';
import { damaged, type Frame } from './parser.ts';

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

/** Words of Ack's data section; it has no pointers. */
const ACK_WORDS = 9;
const ACK_FRAME_BYTES = PREFIX_BYTES + 16 + ACK_WORDS * 8;
/** Offset of its data section, after prefix, segment table and root pointer. */
const ACK_AT = PREFIX_BYTES + 16;
const ACK_DURABLE = 1;
const ACK_READY = 2;

export function encodeAck(ack: Ack): Buffer {
  const frame = Buffer.alloc(ACK_FRAME_BYTES);
  frame.writeUInt32LE(FRAME_MAGIC, 0);
  frame.writeUInt16LE(FRAME.ACK, 4);
  frame.writeUInt32LE(ACK_FRAME_BYTES - PREFIX_BYTES, 8);
  frame.writeUInt32LE(1 + ACK_WORDS, PREFIX_BYTES + 4); // segment table: one segment
  frame.writeUInt32LE(ACK_WORDS, PREFIX_BYTES + 12); // root pointer: the struct follows
  frame.writeBigUInt64LE(ack.sequence, ACK_AT + 8);
  frame.writeBigUInt64LE(ack.recordEnd, ACK_AT + 16);
  frame.writeBigUInt64LE(icountOf(ack.executed.point), ACK_AT + 24);
  frame.writeBigInt64LE(ack.executed.vtimeNs, ACK_AT + 32);
  frame.writeBigUInt64LE(ack.sentAtNs, ACK_AT + 40);
  frame.writeUInt32LE(ack.term, ACK_AT + 48);
  frame[ACK_AT + 52] = (ack.durable ? ACK_DURABLE : 0) | (ack.ready ? ACK_READY : 0);
  frame.writeBigUInt64LE(ack.batchChecksum, ACK_AT + 56);
  frame.writeBigUInt64LE(ack.inPending, ACK_AT + 64);
  sealControlFrame(frame);
  return frame;
}

/** @throws UnderstudyError peer-protocol */
export function decodeAck({ type, buffer, offset, length }: Frame): Ack {
  try {
    checkFrame(buffer, offset, length);
  } catch (cause) {
    throw damaged({ type, buffer, offset, length }, cause);
  }
  const at = offset + ACK_AT;
  const here = buffer.readUInt32LE(offset + PREFIX_BYTES + 8) === 0;
  if (length < ACK_FRAME_BYTES || !here || buffer.readUInt16LE(at - 4) < ACK_WORDS) {
    throw new UnderstudyError('peer-protocol', 'the peer sent an ack of another layout');
  }
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
