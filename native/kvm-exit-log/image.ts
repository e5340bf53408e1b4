// SPDX-License-Identifier: Apache-2.0
/** A VM as its committed epochs left it, for a QEMU that waits (addon/image/image.h). */
import { type NativeImage, native } from './native.ts';

export class Image {
  /** For Courier. */
  readonly native: NativeImage;

  /**
   * @param memoryBytes of its main memory
   * @param disks raw images, as the VM's were at power-on; written with each epoch
   * @throws a system error (ENOMEM, ENOENT …)
   */
  constructor(memoryBytes: number, disks: readonly string[]) {
    this.native = new native.Image(memoryBytes, disks);
  }

  /** Main memory, for that QEMU to inherit. */
  get memoryFd(): number {
    return this.native.memoryFd();
  }

  /** A courier that receives into it has it still. Idempotent. */
  release(): void {
    this.native.release();
  }
}
