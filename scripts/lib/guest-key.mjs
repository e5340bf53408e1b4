// SPDX-License-Identifier: Apache-2.0
// What the reference guest is made from, as one content hash.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ContentHash } from './cache.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const guestDir = join(root, 'guest');

/**
 * Hash of the guest's own files and of the code that assembles them.  Package
 * versions are not in it: they are chosen when the guest is built, and recorded
 * in its manifest (`understudy guest build --refresh` chooses again).
 */
export function guestKey() {
  return new ContentHash()
    .addDir(guestDir, 'guest')
    .addFile(join(root, 'scripts/steps/guest.mjs'), 'guest.mjs')
    .addFile(join(root, 'scripts/lib/cpio.mjs'), 'cpio.mjs')
    .addFile(join(root, 'scripts/lib/vmlinux.mjs'), 'vmlinux.mjs')
    .addFile(join(root, 'scripts/lib/guest-tools.mjs'), 'guest-tools.mjs')
    .digest();
}
