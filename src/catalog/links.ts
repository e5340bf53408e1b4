// SPDX-License-Identifier: Apache-2.0
/**
 * Which folders hold recordings (or kept results of benchmarks): one symbolic link each, in
 * `recordings/` (`benchmarks/`) of the catalog's folder. They are what the index (database.ts) is made again from when
 * it is lost, and a link is made or removed whole, even if others do so at the same time.
 * A recording that has moved or vanished leaves a link into nowhere, which is seen.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readlinkSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorCodeOf } from '../base/errors.ts';
import { makePrivateDirs } from '../base/paths.ts';

export type LinkKind = 'recordings' | 'benchmarks';

/** One name for a folder, by whatever path it is reached; as given when it is gone. */
export function canonicalDir(dir: string): string {
  try {
    return realpathSync(dir);
  } catch {
    return resolve(dir);
  }
}

function linkPath(catalog: string, dir: string, kind: LinkKind): string {
  const name = createHash('sha256').update(dir).digest('hex').slice(0, 16);
  return join(catalog, kind, name);
}

/** @param dir canonical. Idempotent; @throws the system's error */
export function addLink(catalog: string, dir: string, kind: LinkKind = 'recordings'): void {
  makePrivateDirs(join(catalog, kind));
  try {
    symlinkSync(dir, linkPath(catalog, dir, kind));
  } catch (error) {
    if (errorCodeOf(error) !== 'EEXIST') throw error;
  }
}

/** Idempotent. */
export function removeLink(catalog: string, dir: string, kind: LinkKind = 'recordings'): void {
  rmSync(linkPath(catalog, dir, kind), { force: true });
}

/** Every folder that was ever noted and not forgotten, in no order. */
export function listLinks(catalog: string, kind: LinkKind = 'recordings'): string[] {
  const folder = join(catalog, kind);
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
  return names.flatMap((name) => {
    try {
      return [readlinkSync(join(folder, name))];
    } catch {
      return []; // forgotten by now, or no link of ours
    }
  });
}
