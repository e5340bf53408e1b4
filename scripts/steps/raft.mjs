// SPDX-License-Identifier: Apache-2.0
// libraft: the source of Debian's package, with our patches, as a static library. Only its core,
// without the v0 interface: no libuv, no files, no sockets (docs/quorum.md).

import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ContentHash, cacheDir, prune, publishDir, readJson, withLock } from '../lib/cache.mjs';
import { run, StepError, tryOutput } from '../lib/run.mjs';
import { projectRoot } from '../paths.mjs';
import { fetchSource } from './qemu-source.mjs';

export const raftPin = readJson(join(projectRoot, 'scripts/raft-version.json'));
const PATCHES = join(projectRoot, 'native/kvm-exit-log/quorum/patches');

/** What `make libraft.la` compiles, but for what only its libuv or its v0 interface needs. */
export const RAFT_SOURCES = [
  ...['byte', 'client', 'configuration', 'convert', 'election', 'entry', 'err', 'heap'],
  ...['membership', 'message', 'progress', 'raft', 'random', 'recv', 'recv_append_entries'],
  ...['recv_append_entries_result', 'recv_install_snapshot', 'recv_request_vote'],
  ...['recv_request_vote_result', 'recv_timeout_now', 'replication', 'restore', 'state'],
  ...['timeout', 'tracing', 'trail'],
];

const C = ['-std=gnu11', '-fPIC', '-fvisibility=hidden'];
// What is read before it is written has a value that nothing expects.
export const RAFT_FLAGS = [
  '-O2',
  '-g1',
  '-fno-omit-frame-pointer',
  '-ftrivial-auto-var-init=pattern',
];

/** Names of the patches, in the order of their series file. */
export function raftPatches() {
  return readFileSync(join(PATCHES, 'series'), 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Hash of what the library is made from, by the compiler that is here. */
export function raftKey() {
  const hash = new ContentHash()
    .add('pin', JSON.stringify(raftPin))
    .addFile(join(projectRoot, 'scripts/steps/raft.mjs'), 'step')
    .add('flags', [...C, ...RAFT_FLAGS].join(' '))
    .add('gcc', tryOutput('gcc', ['--version']) ?? '');
  for (const name of raftPatches()) hash.addFile(join(PATCHES, name), name);
  return hash.digest();
}

/** @returns {Promise<string>} the folder of the unpacked source, as Debian has it */
async function raftSource(progress) {
  const base = join(cacheDir(), 'raft-source');
  const dir = join(base, raftPin.sha256.slice(0, 16));
  mkdirSync(base, { recursive: true });
  await withLock(join(base, 'lock'), async () => {
    if (existsSync(dir)) return;
    progress.note(`fetching the source of libraft ${raftPin.upstream} from Debian`);
    await publishDir(dir, (into) =>
      fetchSource('raft', chooseVersion, into, progress, checkTarball),
    );
  });
  return dir;
}

/** Whatever Debian did around it since: the tarball is the one that was read. */
function chooseVersion(versions) {
  if (versions.includes(raftPin.version)) return raftPin.version;
  const other = versions.find((version) => version.startsWith(`${raftPin.upstream}-`));
  if (other !== undefined) return other;
  throw new StepError(`no libraft ${raftPin.upstream} in the mirror, only: ${versions.join(' ')}`);
}

function checkTarball(download) {
  const bytes = readFileSync(join(download, raftPin.tarball));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 === raftPin.sha256) return;
  throw new StepError(`${raftPin.tarball} has the SHA-256 ${sha256}, and not ${raftPin.sha256}`);
}

/** Puts the patched source into `dir`: its sources and its header. */
export async function layOutRaft(dir, progress) {
  const source = await raftSource(progress);
  mkdirSync(join(dir, 'include'), { recursive: true });
  cpSync(join(source, 'src'), join(dir, 'src'), { recursive: true });
  const header = readFileSync(join(source, 'include/raft.h.in'), 'utf8');
  // Its v0 interface keeps a copy of the log, and brings I/O of its own.
  writeFileSync(join(dir, 'include/raft.h'), header.replace('@enable_v0@', 'no'));
  for (const name of raftPatches()) await patchRaft(dir, name);
}

/** Applies one of our patches, or takes it back. @param {string[]} [more] `-R` */
export async function patchRaft(dir, name, more = []) {
  const options = ['-p1', '--fuzz=0', '--no-backup-if-mismatch', '-s', '-d', dir, ...more];
  try {
    await run('patch', [...options, '-i', join(PATCHES, name)]);
  } catch (error) {
    throw new StepError(`${name} does not apply:\n${error.message}`);
  }
}

/** One of its sources. @param {string} dir as `layOutRaft` left it; @param {string} [from] in its place */
export async function compileRaft(dir, name, object, flags, from = dir) {
  // Its asserts stay: a replica that met the impossible must not go on.
  const about = ['-I', join(dir, 'include'), '-iquote', join(dir, 'src')];
  await run('gcc', [...C, ...flags, ...about, '-c', join(from, `src/${name}.c`), '-o', object]);
}

const libraryDir = () => join(cacheDir(), 'raft', raftKey());

export function raftIsBuilt() {
  return existsSync(join(libraryDir(), 'libraft.a'));
}

/**
 * What the addon is linked with, made unless the cache has it.
 * @returns {Promise<string>} a folder with libraft.a and, in include, its header
 */
export async function raftLibrary(progress) {
  const target = libraryDir();
  const base = dirname(target);
  if (raftIsBuilt()) return target;
  mkdirSync(base, { recursive: true });
  await withLock(`${target}.lock`, async () => {
    if (raftIsBuilt()) return;
    await publishDir(target, (dir) => buildLibrary(dir, progress));
    prune(base, raftKey(), 2);
  });
  return target;
}

async function buildLibrary(dir, progress) {
  const laidOut = join(dir, 'source');
  await layOutRaft(laidOut, progress);
  const objects = RAFT_SOURCES.map((name) => join(dir, `${name}.o`));
  for (const [i, name] of RAFT_SOURCES.entries()) {
    progress.tick(`libraft ${name}`);
    await compileRaft(laidOut, name, objects[i], RAFT_FLAGS);
  }
  await run('ar', ['rcs', join(dir, 'libraft.a'), ...objects]);
  cpSync(join(laidOut, 'include'), join(dir, 'include'), { recursive: true });
  for (const path of [laidOut, ...objects]) rmSync(path, { recursive: true });
}

/** Files that a patch changes, relative to the source. */
export function filesOfRaftPatch(name) {
  const text = readFileSync(join(PATCHES, name), 'utf8');
  return [...text.matchAll(/^\+\+\+ b\/(\S+)/gm)].map((match) => match[1]);
}
