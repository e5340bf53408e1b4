// SPDX-License-Identifier: Apache-2.0
/** A VM as its committed epochs left it, for a QEMU that waits (addon/image/image.h). */
import { type NativeImage, native } from './native.ts';

export class Image {
  /** For Courier. */
  readonly native: NativeImage;

  /**
   * @param memoryBytes of its main memory
   * @param disks raw images, as the VM's were at power-on; written with each epoch, with a
   *   journal beside the first
   * @param durable an epoch's writes are on a disk before it is acknowledged
   * @throws a system error (ENOMEM, ENOENT …)
   */
  constructor(memoryBytes: number, disks: readonly string[], durable: boolean) {
    this.native = new native.Image(memoryBytes, disks, durable);
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
