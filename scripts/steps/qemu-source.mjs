// SPDX-License-Identifier: Apache-2.0
// QEMU's source: Debian's package, unpacked once; then our files and patches,
// laid over a build tree so that only files whose content changed get a new
// time, and ninja rebuilds only what depends on them.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { hostMirrors, osRelease, PrivateApt, sourceLines } from '../lib/apt.mjs';
import { cacheDir, publishDir, readJson, withLock, writeAtomic } from '../lib/cache.mjs';
import { qemuPin } from '../lib/qemu-key.mjs';
import { run, StepError } from '../lib/run.mjs';

/** The unpacked source with Debian's patches: `{ dir, version }`. */
export async function qemuSource(progress) {
  const base = join(cacheDir(), 'qemu-source');
  mkdirSync(base, { recursive: true });
  return withLock(
    join(base, 'lock'),
    async () => {
      const current = readJson(join(base, 'current.json'));
      if (current?.pinned === qemuPin.version && existsSync(join(base, current.dir))) {
        return { dir: join(base, current.dir), version: current.version };
      }
      const name = `qemu-${qemuPin.version.replace(/[^\w.+-]/g, '_')}`;
      progress.note(`fetching the source of QEMU ${qemuPin.series} from Debian`);
      const version = await publishDir(join(base, name), (dir) =>
        fetchSource('qemu', chooseVersion, dir, progress),
      );
      const record = { pinned: qemuPin.version, version, dir: name };
      writeAtomic(join(base, 'current.json'), JSON.stringify(record));
      return { dir: join(base, name), version };
    },
    (pid) => progress.note(`waiting for process ${pid}, which is fetching it`),
  );
}

/** The apt state from which source packages come. */
export function sourceApt() {
  const mirrors = hostMirrors(osRelease().codename);
  const lines = qemuPin.suites.flatMap((suite) => {
    const isBackports = suite.endsWith('-backports');
    const codename = suite.replace(/-backports$/, '');
    const all = sourceLines(mirrors, {
      type: 'deb-src',
      codename,
      components: 'main',
      backports: isBackports,
    });
    return isBackports ? all.slice(-1) : all;
  });
  return new PrivateApt('source', lines);
}

/**
 * Unpacks Debian's source package into `dir`.
 * @param {(versions: string[]) => string} choose one of those that the mirror has
 * @param {(download: string) => void} [check] of what was downloaded, before it is unpacked
 * @returns {Promise<string>} the version
 */
export async function fetchSource(name, choose, dir, progress, check = () => {}) {
  const onLine = (line) => progress.tick(line);
  const apt = sourceApt();
  await apt.update({ onLine });
  const download = mkdtempSync(join(tmpdir(), 'understudy-source-'));
  try {
    const version = choose(apt.sourceVersions(name));
    await apt.downloadSource(name, version, download, onLine);
    check(download);
    const dsc = readdirSync(download).find((file) => file.endsWith('.dsc'));
    if (dsc === undefined) throw new StepError('apt-get source gave no .dsc');
    progress.note(`unpacking ${version}`);
    rmSync(dir, { recursive: true });
    await run('dpkg-source', ['--no-check', '-x', join(download, dsc), dir], { onLine });
    return version;
  } finally {
    rmSync(download, { recursive: true, force: true });
  }
}

/** The pinned version, or the newest of its series when the mirror has replaced it. */
export function chooseVersion(versions, pin = qemuPin) {
  if (versions.includes(pin.version)) return pin.version;
  const series = new RegExp(`^(\\d+:)?${pin.series.replaceAll('.', '\\.')}\\.`);
  const newest = versions.find((version) => series.test(version));
  if (newest === undefined) {
    throw new StepError(`no QEMU ${pin.series} in the Debian mirror, only: ${versions.join(' ')}`);
  }
  return newest;
}

/**
 * Makes `tree/src` equal to pristine + overlay + patches.  The set of files that
 * differ from pristine is kept in state.json, so that a file no longer patched
 * goes back to what it was.
 */
export async function layOver(pristine, tree, { overlay, patches }) {
  const src = join(tree, 'src');
  const stateFile = join(tree, 'state.json');
  if (!existsSync(stateFile)) {
    rmSync(src, { recursive: true, force: true });
    cpSync(pristine, src, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  }
  const before = readJson(stateFile)?.files ?? [];
  const scratch = mkdtempSync(join(tmpdir(), 'understudy-patch-'));
  try {
    const touched = await patchedFiles(pristine, scratch, overlay, patches);
    const all = [...new Set([...before, ...touched])].sort();
    // Written before the first change: after an interruption every file that may
    // have been changed is still known.
    writeAtomic(stateFile, JSON.stringify({ files: all }));
    for (const file of all) {
      const wanted = touched.has(file) ? join(scratch, file) : join(pristine, file);
      settle(wanted, join(src, file));
    }
    writeAtomic(stateFile, JSON.stringify({ files: [...touched].sort() }));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Puts overlay and patched files into `scratch`; returns all names touched. */
async function patchedFiles(pristine, scratch, overlay, patches) {
  const touched = new Set();
  for (const { from, to } of overlay) {
    mkdirSync(dirname(join(scratch, to)), { recursive: true });
    copyFileSync(from, join(scratch, to));
    touched.add(to);
  }
  for (const patch of patches) {
    for (const file of filesOfPatch(readFileSync(patch, 'utf8'))) {
      if (!touched.has(file) && existsSync(join(pristine, file))) {
        mkdirSync(dirname(join(scratch, file)), { recursive: true });
        copyFileSync(join(pristine, file), join(scratch, file));
      }
      touched.add(file);
    }
    const options = ['-p1', '--fuzz=0', '--no-backup-if-mismatch', '-s', '-d', scratch];
    try {
      await run('patch', [...options, '-i', patch]);
    } catch (error) {
      throw new StepError(`${basename(patch)} does not apply:\n${error.message}`);
    }
  }
  return touched;
}

/** Files that a patch (git or diff -u format, one leading component) touches. */
export function filesOfPatch(text) {
  const names = [...text.matchAll(/^(?:---|\+\+\+) ([^\t\n]+)/gm)].map((match) => match[1].trim());
  const real = names.filter((name) => name !== '/dev/null' && name.includes('/'));
  return [...new Set(real.map((name) => name.slice(name.indexOf('/') + 1)))];
}

/** Makes `to` like `from` (or absent like it), leaving equal files alone. */
function settle(from, to) {
  if (!existsSync(from)) {
    rmSync(to, { force: true });
    return;
  }
  const wanted = readFileSync(from);
  if (existsSync(to) && readFileSync(to).equals(wanted)) return;
  mkdirSync(dirname(to), { recursive: true });
  rmSync(to, { force: true });
  writeFileSync(to, wanted, { mode: statSync(from).mode });
}
