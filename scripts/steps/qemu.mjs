// SPDX-License-Identifier: Apache-2.0
// QEMU in the cache, under the hash of all that it is made from: the patched one, and,
// for measurements, the same source without our patches: plain, and configured with COLO;
// and the patched one with sanitizers.

import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDir, prune, publishDir, withLock } from '../lib/cache.mjs';
import {
  coloConfigure,
  coloPatches,
  coloQemuKey,
  coloTreeKey,
  plainQemuKey,
  qemuDevices,
  qemuKey,
  qemuOverlay,
  qemuPatches,
  qemuPin,
  qemuTreeKey,
} from '../lib/qemu-key.mjs';
import { output, run } from '../lib/run.mjs';
import { layOver, qemuSource } from './qemu-source.mjs';

const BINARY = 'qemu-system-x86_64';

/**
 * @typedef {object} Variant
 * @property {string} base folder in the cache
 * @property {string} [title] of the step that builds it, where that is not the bootstrap's
 * @property {() => string} key of what it is made from
 * @property {() => string} tree key of what needs a new build tree
 * @property {string[]} configure options besides the pin's
 * @property {() => object[]} overlay whole files laid over the source
 * @property {() => string[]} patches
 */

/** @type {Variant} */
const PATCHED = {
  base: 'qemu',
  key: qemuKey,
  tree: qemuTreeKey,
  configure: [],
  overlay: qemuOverlay,
  patches: qemuPatches,
};
/** @type {Variant} */
const PLAIN = {
  base: 'qemu-plain',
  title: 'unpatched QEMU',
  key: plainQemuKey,
  tree: qemuTreeKey,
  configure: [],
  overlay: qemuDevices,
  patches: () => [],
};
/** @type {Variant} */
const COLO = {
  base: 'qemu-colo',
  title: 'QEMU with COLO',
  key: coloQemuKey,
  tree: coloTreeKey,
  configure: coloConfigure,
  overlay: qemuDevices,
  patches: coloPatches,
};

/** @type {Variant} */
const SANITIZED = {
  ...PATCHED,
  base: 'qemu-sanitized',
  title: 'QEMU with ASan and UBSan',
  configure: ['--enable-asan', '--enable-ubsan'],
};

/** Where a variant is, or will be. */
function target({ base, key }) {
  return join(cacheDir(), base, key());
}

function isBuilt(variant) {
  return existsSync(join(target(variant), 'manifest.json'));
}

export function qemuIsBuilt() {
  return isBuilt(PATCHED);
}

export function qemuStep(progress) {
  return buildOnce(PATCHED, progress);
}

/**
 * Builds the unpatched QEMU unless the cache has it: what ours is measured against.
 * @returns {Promise<string>} its binary
 */
export function plainQemu(progress) {
  return builtApart(PLAIN, progress);
}

/**
 * The same with COLO, and the one patch that it takes under TCG.
 * @returns {Promise<string>} its binary
 */
export function coloQemu(progress) {
  return builtApart(COLO, progress);
}

/**
 * The patched one, watched by ASan and UBSan: for `UNDERSTUDY_QEMU` (docs/fuzzing.md).
 * @returns {Promise<string>} its binary
 */
export function sanitizedQemu(progress) {
  return builtApart(SANITIZED, progress);
}

async function builtApart(variant, progress) {
  if (!isBuilt(variant)) {
    progress.begin(variant.title);
    await buildOnce(variant, progress);
    progress.end();
  }
  return join(target(variant), BINARY);
}

/**
 * The patched QEMU's build tree as this checkout has it: sources laid out and compiled. The
 * cache has one tree for all checkouts, and whichever compiled last left it as its own.
 * @returns {Promise<string>} its directory, with `src` and `build`
 */
export async function patchedTree(progress) {
  await alone(PATCHED, progress, (tree) => compile(PATCHED, tree, progress));
  return treeOf(PATCHED);
}

const treeOf = (variant) => join(cacheDir(), `${variant.base}-tree`, variant.tree());

async function buildOnce(variant, progress) {
  if (isBuilt(variant)) return;
  mkdirSync(join(cacheDir(), variant.base), { recursive: true });
  await alone(variant, progress, async (tree) => {
    if (!isBuilt(variant)) await build(variant, tree, progress);
  });
}

/** Does `work` in the variant's tree, with nobody else in it. */
async function alone(variant, progress, work) {
  const tree = treeOf(variant);
  mkdirSync(dirname(tree), { recursive: true });
  await withLock(
    `${tree}.lock`,
    () => work(tree),
    (pid) => progress.note(`waiting for process ${pid}, which is building QEMU`),
  );
}

/** Makes the tree what `variant` is made from, and compiles it. */
async function compile(variant, tree, progress) {
  const source = await qemuSource(progress);
  const key = variant.key();
  progress.note('laying out the source');
  mkdirSync(tree, { recursive: true });
  await layOver(source.dir, tree, { overlay: variant.overlay(), patches: variant.patches() });
  // Files could have changed while they were being copied; what was built must
  // be what its key says.
  if (variant.key() !== key) return compile(variant, tree, progress);

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
    await run(configure, [...qemuPin.configure, ...variant.configure], { cwd: buildDir, onLine });
  }
  const startedAt = performance.now();
  progress.note('compiling');
  await run('ninja', [BINARY], { cwd: buildDir, onLine });
  const compile_s = Math.round((performance.now() - startedAt) / 1000);
  return { key, version: source.version, binary: join(buildDir, BINARY), compile_s };
}

async function build(variant, tree, progress) {
  const { key, version, binary, compile_s } = await compile(variant, tree, progress);
  const text = output(binary, ['--version']).split('\n')[0];
  if (variant.key() !== key) progress.note('a patch changed meanwhile; the next run builds again');
  await publishDir(join(cacheDir(), variant.base, key), (dir) => {
    copyFileSync(binary, join(dir, BINARY));
    chmodSync(join(dir, BINARY), 0o755);
    const manifest = {
      // A replaced Debian version is another QEMU, though our files are the same.
      id: version === qemuPin.version ? key : `${key}-${version}`,
      version,
      says: text,
      patches: variant.patches().length,
      compile_s,
    };
    writeFileSync(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  prune(join(cacheDir(), variant.base), key, 4);
}
