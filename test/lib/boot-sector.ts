// SPDX-License-Identifier: Apache-2.0
/** A VM that runs test/lib/boot-sector.s: off again in a second. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';

/** Instructions of one round of its loop. */
export const ROUND = 7;

/**
 * Assembles it into `dir` with a VM.toml for it.
 * @param rounds of its loop before it switches itself off
 * @param more further lines of VM.toml
 * @returns the path of VM.toml
 */
export function bootSectorVm(dir: string, rounds: number, more = ''): string {
  mkdirSync(dir, { recursive: true });
  const object = join(dir, 'boot.o');
  const image = join(dir, 'disk.raw');
  const source = join(root, 'test/lib/boot-sector.s');
  execFileSync('as', ['--32', '--defsym', `ROUNDS=${rounds}`, '-o', object, source]);
  const flat = ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary'];
  execFileSync('ld', [...flat, '-o', image, object]);
  truncateSync(image, 1 << 20);
  // Each side of a pair owns a copy.
  copyFileSync(image, join(dir, 'disk2.raw'));
  const vm = join(dir, 'VM.toml');
  writeFileSync(
    vm,
    `name = "sector"\nmemory = "32M"\nrng = false\n[[disk]]\nimage = "disk.raw"\n${more}`,
  );
  return vm;
}
