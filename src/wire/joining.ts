// SPDX-License-Identifier: Apache-2.0
/**
 * The messages of a join to a running VM (schema/wire.capnp, types 9 to 14), in the
 * order in which they pass: what the backup has, what the checkpoint's files are, where the
 * log goes on, and at last that it may take over. What the backup lacks passes between them
 * as STATE frames, which the addon makes and takes (native/kvm-exit-log/state.ts).
 */
import * as schema from '../../schema/wire.capnp.ts';
import { atIcount, icountOf } from '../base/position.ts';
import type { FirstBatch, Start } from '../log/entrance.ts';
import { FRAME } from '../log/frame.ts';
import { decode, encode } from './messages.ts';
import type { Frame } from './parser.ts';

/** What images are compared by. */
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

/** All was sent. */
export interface Sent {
  readonly start: Start<FirstBatch>;
  /** STATE frames. */
  readonly pieces: bigint;
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

/** @param manifest text of the checkpoint's manifest.json */
export function encodeCheckpoint(manifest: string): Buffer {
  return encode(FRAME.CHECKPOINT, schema.Checkpoint, (root) => root.setManifest(manifest));
}

export function decodeCheckpoint(frame: Frame): string {
  return decode(frame, FRAME.CHECKPOINT, schema.Checkpoint, (root) => root.getManifest());
}

export function encodeStart({ start, pieces }: Sent): Buffer {
  const { entrance, point } = start;
  return encode(FRAME.START, schema.Start, (root) => {
    root.setSequence(entrance.sequence);
    root.setRecordBase(entrance.recordBase);
    root.setDataBase(entrance.dataBase);
    root.setPrevChecksum(entrance.prevChecksum);
    root.setIcount(icountOf(point));
    root.setPieces(pieces);
  });
}

export function decodeStart(frame: Frame): Sent {
  return decode(frame, FRAME.START, schema.Start, (root) => ({
    start: {
      point: atIcount(root.getIcount()),
      entrance: {
        sequence: root.getSequence(),
        recordBase: root.getRecordBase(),
        dataBase: root.getDataBase(),
        prevChecksum: root.getPrevChecksum(),
      },
    },
    pieces: root.getPieces(),
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
