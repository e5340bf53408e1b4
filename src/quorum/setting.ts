// SPDX-License-Identifier: Apache-2.0
/**
 * The first thing that replicas agree on: the VM as it will run, a welcome (wire/hello.ts) as a
 * primary sends its backup. Who leads first proposes its own; each compares it with what it has.
 */
import { UnderstudyError } from '../base/errors.ts';
import { hex64 } from '../base/format.ts';
import { PREFIX_BYTES } from '../log/frame.ts';
import type { VmFacts } from '../wire/hello.ts';
import { decodeWelcome, type Welcome } from '../wire/messages.ts';

/** @throws UnderstudyError peer-protocol */
export function readSetting(bytes: Buffer): Welcome {
  if (bytes.length < PREFIX_BYTES) {
    throw new UnderstudyError('peer-protocol', 'the replicas agreed on what is no frame');
  }
  const type = bytes.readUInt16LE(4);
  return decodeWelcome({ type, buffer: bytes, offset: 0, length: bytes.length });
}

/** Why this replica cannot execute that VM, or null. */
export function settingDiffers(agreed: Welcome, own: VmFacts): string | null {
  if (agreed.qemuBuildId !== own.qemuBuildId) {
    return `its QEMU is build ${own.qemuBuildId}, and ${agreed.host}'s is ${agreed.qemuBuildId}`;
  }
  if (agreed.configHash !== own.configHash) {
    return `its VM.toml is not ${agreed.host}'s: memory, kernel, initrd, append, devices and macs must be the same`;
  }
  if (agreed.protocolName !== 'quorum') return `they agreed on protocol ${agreed.protocolName}`;
  for (const [index, disk] of agreed.disks.entries()) {
    const mine = own.disks[index];
    if (mine === undefined || mine.bytes !== disk.bytes) {
      return `disk ${index} (${disk.name}) has another size than ${agreed.host}'s`;
    }
    if (mine.xxh64 !== disk.xxh64) {
      return (
        `the content of disk ${index} (${disk.name}) is ${hex64(mine.xxh64)}, and ${agreed.host}'s is ` +
        `${hex64(disk.xxh64)}: all replicas are powered on from equal images`
      );
    }
  }
  return null;
}
