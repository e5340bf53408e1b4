// SPDX-License-Identifier: Apache-2.0
/**
 * The messages of a join to a running VM (schema/wire.capnp, types 9 to 12), in the
 * order in which they pass: what the backup has, what it lacks, where the log goes
 * on, and at last that it may take over.
 */
import * as schema from '../../schema/wire.capnp.ts';
import { atIcount, icountOf } from '../base/position.ts';
import type { FirstBatch, Start } from '../log/entrance.ts';
import { FRAME } from '../log/frame.ts';
import { decode, encode } from './messages.ts';
import type { Frame } from './parser.ts';

/** What images are compared and sent by; a piece has to fit a control frame. */
export const BLOCK_BYTES = 32 * 1024;
/** Hashes in one message. */
const HASHES_MAX = 4096;

/** Part of what a backup holds of a disk. */
export interface Blocks {
  readonly disk: number;
  /** Number of the first block. */
  readonly first: bigint;
  /** xxh64 of each. */
  readonly hashes: BigUint64Array;
}

/** Bytes of a disk image ("image/0") or of a file of the checkpoint ("checkpoint/ram"). */
export interface Piece {
  readonly file: string;
  readonly offset: bigint;
  readonly data: Uint8Array;
}

export interface Protected {
  /** The last batch whose outputs may have left without an ack. */
  readonly sequence: bigint;
  readonly term: number;
}

/** All hashes of one disk, in as many messages as it takes. */
export function* encodeBlocks(disk: number, hashes: BigUint64Array): Generator<Buffer> {
  for (let first = 0; first < hashes.length; first += HASHES_MAX) {
    const part = hashes.subarray(first, first + HASHES_MAX);
    yield encode(FRAME.BLOCKS, schema.Blocks, (root) => {
      root.setDisk(disk);
      root.setFirst(BigInt(first));
      const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      root.initHashes(bytes.length).copyBuffer(bytes);
    });
  }
}

export function decodeBlocks(frame: Frame): Blocks {
  return decode(frame, FRAME.BLOCKS, schema.Blocks, (root) => {
    const bytes = root.getHashes().toUint8Array();
    // A copy of its own: aligned, and not the frame's.
    const hashes = new BigUint64Array(Uint8Array.from(bytes).buffer, 0, bytes.length >> 3);
    return { disk: root.getDisk(), first: root.getFirst(), hashes };
  });
}

export function encodePiece(piece: Piece): Buffer {
  return encode(FRAME.PIECE, schema.Piece, (root) => {
    root.setFile(piece.file);
    root.setOffset(piece.offset);
    root.initData(piece.data.length).copyBuffer(piece.data);
  });
}

export function decodePiece(frame: Frame): Piece {
  return decode(frame, FRAME.PIECE, schema.Piece, (root) => ({
    file: root.getFile(),
    offset: root.getOffset(),
    data: Uint8Array.from(root.getData().toUint8Array()),
  }));
}

export function encodeStart({ entrance, point }: Start<FirstBatch>): Buffer {
  return encode(FRAME.START, schema.Start, (root) => {
    root.setSequence(entrance.sequence);
    root.setRecordBase(entrance.recordBase);
    root.setDataBase(entrance.dataBase);
    root.setPrevChecksum(entrance.prevChecksum);
    root.setIcount(icountOf(point));
  });
}

export function decodeStart(frame: Frame): Start<FirstBatch> {
  return decode(frame, FRAME.START, schema.Start, (root) => ({
    point: atIcount(root.getIcount()),
    entrance: {
      sequence: root.getSequence(),
      recordBase: root.getRecordBase(),
      dataBase: root.getDataBase(),
      prevChecksum: root.getPrevChecksum(),
    },
  }));
}

export function encodeProtected(told: Protected): Buffer {
  return encode(FRAME.PROTECTED, schema.Protected, (root) => {
    root.setSequence(told.sequence);
    root.setTerm(told.term);
  });
}

export function decodeProtected(frame: Frame): Protected {
  return decode(frame, FRAME.PROTECTED, schema.Protected, (root) => ({
    sequence: root.getSequence(),
    term: root.getTerm(),
  }));
}
