// SPDX-License-Identifier: Apache-2.0
/** A host whose time of day is another one, and may be stepped (shift-clock.c). */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';
import { preloaded } from './preloaded.ts';

export class ShiftedClock {
  /** For its daemon, whose QEMU inherits it. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  /** @param name of the host, in `dir` */
  constructor(dir: string, name: string, ms = 0) {
    const library = join(dir, `shift-clock-${name}.so`);
    const source = join(root, 'test/lib/shift-clock.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O', '-Wall', '-Werror', '-o', library, source]);
    this.#file = join(dir, `shift-${name}`);
    writeFileSync(this.#file, Buffer.alloc(8));
    this.set(ms);
    this.env = preloaded(library, { CLOCK_SHIFT_FILE: this.#file });
  }

  /** Ahead of this host's by so much from now on. */
  set(ms: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(ms * 1e6)));
    // In place: who has mapped it sees all of the eight bytes at once.
    writeFileSync(this.#file, bytes, { flag: 'r+' });
  }
}
