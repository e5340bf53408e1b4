// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

export interface DebianGuest {
  /** Its root file system; copy it, never use it in place. */
  readonly disk: string;
  readonly initrd: string;
  /** What the kernel's command line must have. */
  readonly words: string;
  /** Root's private key, and the file of known hosts that has its sshd. */
  readonly key: string;
  readonly knownHosts: string;
}

/** Builds a Debian system (systemd, sshd at 10.77.0.2) unless the cache has it. */
export function testDebian(progress: Progress): Promise<DebianGuest>;
