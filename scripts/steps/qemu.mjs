// SPDX-License-Identifier: Apache-2.0
// The patched QEMU, in the cache under the hash of all that it is made from.

import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, prune, publishDir, withLock } from '../lib/cache.mjs';
import { qemuKey, qemuPatches, qemuPin, qemuTreeKey } from '../lib/qemu-key.mjs';
import { output, run } from '../lib/run.mjs';
import { layOver, qemuSource } from './qemu-source.mjs';

const BINARY = 'qemu-system-x86_64';

/** Where this checkout's QEMU is, or will be. */
function target() {
  return join(cacheDir(), 'qemu', qemuKey());
}

export function qemuIsBuilt() {
  return existsSync(join(target(), 'manifest.json'));
}

export async function qemuStep(progress) {
  if (qemuIsBuilt()) return;
  const trees = join(cacheDir(), 'qemu-tree');
  mkdirSync(trees, { recursive: true });
  mkdirSync(join(cacheDir(), 'qemu'), { recursive: true });
  await withLock(
    join(trees, `${qemuTreeKey()}.lock`),
    async () => {
      if (!qemuIsBuilt()) await build(join(trees, qemuTreeKey()), progress);
    },
    (pid) => progress.note(`waiting for process ${pid}, which is building QEMU`),
  );
}

async function build(tree, progress) {
  const source = await qemuSource(progress);
  const key = qemuKey();
  progress.note('applying the patches');
  mkdirSync(tree, { recursive: true });
  await layOver(source.dir, tree);
  // Files could have changed while they were being copied; what was built must
  // be what its key says.
  if (qemuKey() !== key) return build(tree, progress);

  const buildDir = join(tree, 'build');
  const onLine = (line) => {
    const step = /^\[\d+\/\d+\]/.exec(line)?.[0];
    progress.tick(step === undefined ? line : `compiling ${step}`);
  };
  if (!existsSync(join(buildDir, 'build.ninja'))) {
    progress.note('configuring');
    rmSync(buildDir, { recursive: true, force: true });
    mkdirSync(buildDir);
    const configure = join(tree, 'src', 'configure');
    await run(configure, qemuPin.configure, { cwd: buildDir, onLine });
  }
  const startedAt = performance.now();
  progress.note('compiling');
  await run('ninja', [BINARY], { cwd: buildDir, onLine });
  const built = join(buildDir, BINARY);
  const text = output(built, ['--version']).split('\n')[0];
  if (qemuKey() !== key) progress.note('a patch changed meanwhile; the next run builds again');
  const target = join(cacheDir(), 'qemu', key);
  await publishDir(target, (dir) => {
    copyFileSync(built, join(dir, BINARY));
    chmodSync(join(dir, BINARY), 0o755);
    const manifest = {
      // A replaced Debian version is another QEMU, though our files are the same.
      id: source.version === qemuPin.version ? key : `${key}-${source.version}`,
      version: source.version,
      says: text,
      patches: qemuPatches().length,
      compile_s: Math.round((performance.now() - startedAt) / 1000),
    };
    writeFileSync(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  prune(join(cacheDir(), 'qemu'), key, 4);
}
