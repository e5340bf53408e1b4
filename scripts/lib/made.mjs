// SPDX-License-Identifier: Apache-2.0
// What is made on first use and then found in the cache.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, prune, publishDir, withLock } from './cache.mjs';

/**
 * Finds a file of the cache, or has its folder made.
 * @param {string} name folder under the cache, and how progress names it
 * @param {string} key content hash of what it is made from
 * @param {string} file in its folder, made by `build(folder)` with whatever else is there
 * @param {number} keep builds that are kept besides
 * @returns {Promise<string>} the file's path
 */
export async function made(name, key, file, keep, progress, build) {
  const base = join(cacheDir(), name);
  const target = join(base, key);
  if (!existsSync(join(target, file))) {
    progress.begin(name);
    mkdirSync(base, { recursive: true });
    await withLock(
      join(base, `${key}.lock`),
      async () => {
        if (!existsSync(join(target, file))) await publishDir(target, build);
        prune(base, key, keep);
      },
      (pid) => progress.note(`waiting for process ${pid}, which is making it`),
    );
    progress.end();
  }
  return join(target, file);
}
