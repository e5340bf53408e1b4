// SPDX-License-Identifier: Apache-2.0
// The cache: content-addressed artefacts, atomic publication, locks.

import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Root of the cache: `$XDG_CACHE_HOME/understudy`, or `~/.cache/understudy`. */
export function cacheDir() {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'understudy');
}

/** Regular files under `dir`, sorted, relative to it; [] when `dir` does not exist. */
export function listFiles(dir, accept = () => true) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => relative(dir, join(e.parentPath ?? e.path, e.name)))
    .filter(accept)
    .sort();
}

/** A short content hash over named parts: strings, buffers, or files of a directory. */
export class ContentHash {
  #hash = createHash('sha256');

  add(name, content) {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content);
    // Length-prefixed, so that no two different inputs give the same stream.
    this.#hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    return this;
  }

  addFile(path, name = path) {
    return this.add(name, readFileSync(path));
  }

  addDir(dir, name, accept) {
    for (const file of listFiles(dir, accept)) this.addFile(join(dir, file), `${name}/${file}`);
    return this;
  }

  digest() {
    return this.#hash.digest('hex').slice(0, 16);
  }
}

export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Writes through a temporary name, so that a reader sees the old file or the new one. */
export function writeAtomic(path, content) {
  const temporary = `${path}.tmp-${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

/**
 * Builds a directory beside its final name and renames it there, so that an
 * interrupted build never looks like a finished one.
 */
export async function publishDir(target, build) {
  const temporary = `${target}.tmp-${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  try {
    const result = await build(temporary);
    rmSync(target, { recursive: true, force: true });
    renameSync(temporary, target);
    return result;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Keeps the `keep` newest entries of a cache directory (by mtime), always `current`. */
export function prune(dir, current, keep) {
  const entries = readdirSync(dir)
    // Locks and unfinished builds belong to other processes.
    .filter((name) => name !== current && !/\.(lock|tmp|stale)\b/.test(name))
    .map((name) => ({ name, at: statSync(join(dir, name)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { name } of entries.slice(keep)) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
}

/**
 * Runs `body` while holding the lock directory `path`.  A lock whose owner is no
 * longer alive is taken over.
 */
export async function withLock(path, body, onWait = () => {}) {
  const ownerFile = join(path, 'owner');
  for (let waited = false; ; ) {
    try {
      mkdirSync(path);
      break;
    } catch (e) {
      if (e.code !== 'EEXIST') throw e;
    }
    const owner = readOwner(ownerFile);
    if (owner !== undefined && !isAlive(owner)) {
      // Renamed first: of two waiters only one can take the stale lock away.
      const stale = `${path}.stale-${process.pid}`;
      try {
        renameSync(path, stale);
        rmSync(stale, { recursive: true, force: true });
      } catch (e) {
        if (e.code !== 'ENOENT') throw e;
      }
      continue;
    }
    if (!waited) onWait(owner?.pid);
    waited = true;
    await sleep(500);
  }
  writeFileSync(ownerFile, JSON.stringify({ pid: process.pid, start: startTime(process.pid) }));
  const release = () => rmSync(path, { recursive: true, force: true });
  process.once('exit', release);
  try {
    return await body();
  } finally {
    process.removeListener('exit', release);
    release();
  }
}

function readOwner(file) {
  const owner = readJson(file);
  if (owner !== undefined) return owner;
  try {
    // Between mkdir and the owner's write there is a moment without an owner;
    // ten seconds without one means that its maker died there.
    const age = Date.now() - statSync(join(file, '..')).mtimeMs;
    return age > 10_000 ? { pid: -1, start: '' } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, start }) {
  return pid > 0 && startTime(pid) === start;
}

/** Start time of a process, so that a reused pid is not taken for the old owner. */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
