// SPDX-License-Identifier: Apache-2.0
// The reference guest's initrd with another first process.

import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ContentHash, cacheDir } from '../lib/cache.mjs';
import { Cpio } from '../lib/cpio.mjs';
import { guestKey } from '../lib/guest-key.mjs';
import { made } from '../lib/made.mjs';
import { guestStep } from './guest.mjs';

/**
 * Adds a program to the initrd's root.
 * @param {string} name of its folder in the cache
 * @param {string} init the program; the kernel's command line must have rdinit=/ and its name
 * @returns the initrd's path
 */
export async function initrdWith(name, init, progress) {
  const file = basename(init);
  const key = new ContentHash().add('reference', guestKey()).addFile(init, file).digest();
  return await made(name, key, 'initrd.gz', 2, progress, async (dir) => {
    await guestStep(progress);
    const cpio = new Cpio();
    cpio.file(file, readFileSync(init), 0o755);
    // The kernel unpacks one archive over the other.
    const reference = readFileSync(join(cacheDir(), 'guest', guestKey(), 'initrd.gz'));
    const padding = Buffer.alloc(-reference.length & 3);
    const whole = Buffer.concat([reference, padding, gzipSync(cpio.bytes(), { level: 9 })]);
    writeFileSync(join(dir, 'initrd.gz'), whole);
  });
}
