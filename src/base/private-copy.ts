// SPDX-License-Identifier: Apache-2.0
import { chmodSync, copyFileSync } from 'node:fs';

/**
 * Copies a file as its owner's alone (mode 0600): Node's own copy has the original's mode,
 * whatever the umask.
 * @param flags as of copyFileSync
 */
export function copyPrivately(from: string, to: string, flags = 0): void {
  copyFileSync(from, to, flags);
  chmodSync(to, 0o600);
}
