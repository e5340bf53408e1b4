// SPDX-License-Identifier: Apache-2.0
/** The firmware of a recording: its guest executes it, so it must be what it was. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import type { Recording } from '../recording/folder.ts';
import { firmwareDifference, firmwareHash, hashFirmware } from '../vm/firmware.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';

/** The recording's own firmware; of an older one, which has none, this host's. */
export function firmwareDirOf({ paths }: Recording, qemu: QemuBinary): string {
  return existsSync(paths.firmware) ? paths.firmware : qemu.firmwareDir;
}

/** @throws UnderstudyError log-firmware */
export function checkFirmware({ manifest, paths }: Recording, dir: string): void {
  const recorded = manifest.qemu.firmware;
  if (recorded === undefined) return;
  const found = hashFirmware(dir);
  const name = firmwareDifference(recorded, found);
  if (name === null) return;
  throw new UnderstudyError(
    'log-firmware',
    `${join(dir, name)} is not the firmware that the guest of ${paths.dir} was started with ` +
      `(sha256 ${firmwareHash(found, name)}, recorded ${firmwareHash(recorded, name)}): ` +
      (dir === paths.firmware
        ? 'somebody changed it'
        : 'name the folder of the one it had by UNDERSTUDY_FIRMWARE_DIR'),
    { details: { file: name, recorded: recorded[name] ?? null, found: found[name] ?? null } },
  );
}
