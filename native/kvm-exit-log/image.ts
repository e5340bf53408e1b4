// SPDX-License-Identifier: Apache-2.0
/** A VM as its committed epochs left it, for a QEMU that waits (addon/image/image.h). */
import { type NativeImage, native } from './native.ts';

/** The guest's memory, and before the first cut again what is written meanwhile. */
const STAGED_TIMES_MEMORY = 8;
/** Writes to its disks, those of the time that a join takes in the first epoch. */
const STAGED_DISK_BYTES = 4 * 1024 ** 3;

/** What is kept of an epoch at most before it is whole. */
function stagedBytesMax(memoryBytes: number): number {
  return STAGED_TIMES_MEMORY * memoryBytes + STAGED_DISK_BYTES;
}

export class Image {
  /** For Courier. */
  readonly native: NativeImage;

  /**
   * @param memoryBytes of its main memory
   * @param disks raw images, as the VM's were at power-on; written with each epoch, with a
   *   journal beside the first
   * @param durable an epoch's writes are on a disk before it is acknowledged
   * @param stagedMax bytes of an epoch that are kept before it is whole; one that has more ends
   *   what is received, as a full disk would
   * @throws a system error (ENOMEM, ENOENT …)
   */
  constructor(
    memoryBytes: number,
    disks: readonly string[],
    durable: boolean,
    stagedMax = stagedBytesMax(memoryBytes),
  ) {
    this.native = new native.Image(memoryBytes, disks, durable, stagedMax);
  }

  /** Main memory, for that QEMU to inherit. */
  get memoryFd(): number {
    return this.native.memoryFd();
  }

  /** The file by which that QEMU gets the rest at a take-over, to inherit as well. */
  get restFd(): number {
    return this.native.restFd();
  }

  /** A courier that receives into it has it still. Idempotent. */
  release(): void {
    this.native.release();
  }
}
