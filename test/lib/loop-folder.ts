// SPDX-License-Identifier: Apache-2.0
/** A folder with a file system of its own, which hangs, turns read-only or goes away. Needs root. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';

const MIB = 2 ** 20;

export class LoopFolder {
  readonly path: string;
  readonly #image: string;
  #isMounted = false;
  #isFrozen = false;

  constructor(path: string, { image = `${path}.ext4`, mib = 16 } = {}) {
    this.path = path;
    this.#image = image;
    mkdirSync(path, { recursive: true });
    writeFileSync(this.#image, '');
    truncateSync(this.#image, mib * MIB);
    execFileSync('mkfs.ext4', ['-q', this.#image]);
    this.mount();
    // A frozen file system whose last mount is gone stays for ever: this thaws it when we are killed.
    const thaw = 'read end; fsfreeze --unfreeze "$0"; umount --lazy "$0"';
    const guard = spawn('sh', ['-c', thaw, path], { stdio: ['pipe', 'ignore', 'ignore'] });
    guard.unref();
    (guard.stdin as Socket).unref();
  }

  mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#image, this.path]);
    this.#isMounted = true;
  }

  /** Its mount point is an empty folder then. */
  unmount(): void {
    // Whoever hangs in it, or has just been killed, need not be waited for.
    execFileSync('umount', ['--lazy', this.path]);
    this.#isMounted = false;
  }

  /** Whoever writes there waits, and cannot be killed. */
  freeze(): void {
    execFileSync('fsfreeze', ['--freeze', this.path]);
    this.#isFrozen = true;
  }

  /** Nothing where it is not frozen. */
  thaw(): void {
    if (!this.#isFrozen) return;
    execFileSync('fsfreeze', ['--unfreeze', this.path]);
    this.#isFrozen = false;
  }

  remount(how: 'ro' | 'rw'): void {
    execFileSync('mount', ['-o', `remount,${how}`, this.path]);
  }

  remove(): void {
    this.thaw();
    if (this.#isMounted) this.unmount();
  }
}
