// SPDX-License-Identifier: Apache-2.0
// The guard that runs in guests, as one static program for any Linux on x86-64. It is no part of
// the reference guest: whoever has services puts it into theirs (docs/guard.md).

import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ContentHash, cacheDir, listFiles, prune, publishDir, withLock } from '../lib/cache.mjs';
import { output, run } from '../lib/run.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const sources = join(root, 'native', 'us-guard');
const COMPILER = 'gcc';
const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static', '-s'];

/** What it is made from: a compiler of another host makes another file, and the same program. */
export function guardKey() {
  return new ContentHash()
    .addDir(sources, 'us-guard')
    .add('flags', FLAGS.join(' '))
    .add('compiler', output(COMPILER, ['-dumpfullversion']))
    .digest();
}

/**
 * Compiles it unless the cache has it.
 * @returns its path
 */
export async function guardStep(progress) {
  const key = guardKey();
  const base = join(cacheDir(), 'us-guard');
  const binary = join(base, key, 'us-guard');
  if (existsSync(binary)) return binary;
  mkdirSync(base, { recursive: true });
  await withLock(
    join(base, `${key}.lock`),
    async () => {
      if (existsSync(binary)) return;
      await publishDir(dirname(binary), async (dir) => {
        const files = listFiles(sources, (name) => name.endsWith('.c'));
        const out = join(dir, 'us-guard');
        await run(COMPILER, [...FLAGS, '-o', out, ...files.map((name) => join(sources, name))]);
        chmodSync(out, 0o755);
      });
      prune(base, key, 2);
    },
    (pid) => progress.note(`waiting for process ${pid}, which compiles it`),
  );
  return binary;
}
