// SPDX-License-Identifier: Apache-2.0
/** Where a log is entered by whoever does not have it from its beginning. */
import type { Point } from '../base/position.ts';

/** The first batch that is read, by what its header has to say. */
export interface FirstBatch {
  readonly sequence: bigint;
  readonly recordBase: bigint;
  readonly dataBase: bigint;
  /** Checksum of the batch before it. */
  readonly prevChecksum: bigint;
}

/** That batch in a log that lies here. */
export interface LogEntrance extends FirstBatch {
  /** Number of the file that has it. */
  readonly segment: number;
}

/**
 * A checkpoint, and the batch that has its CHECKPOINT: the first that a replay from there
 * is fed. `Start<FirstBatch>` is one that came from a peer, whose files are not ours.
 */
export interface Start<Entrance extends FirstBatch = LogEntrance> {
  /** Where the checkpoint stands. */
  readonly point: Point;
  readonly entrance: Entrance;
}

/** What a replay starts from instead of power-on. */
export interface Origin {
  readonly entrance: FirstBatch;
  /** Path of the file that lists the checkpoint's folders (qemu/exitlog/cut/checkpoint-load.c). */
  readonly chain: string;
}
