// SPDX-License-Identifier: Apache-2.0
/** Where things are: the checkout, the user's state and the user's cache. */
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from './assert.ts';
import { errorCodeOf, messageOf, UnderstudyError } from './errors.ts';

export type VmRole = 'primary' | 'backup' | 'replica' | 'record' | 'replay';

function xdg(variable: string, fallback: readonly string[]): string {
  const value = process.env[variable];
  // The XDG specification: a relative path there is to be ignored.
  return value !== undefined && isAbsolute(value) ? value : join(homedir(), ...fallback);
}

/** The root of the checkout or package this code runs from. */
export function projectRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(directory, 'package.json');
    if (existsSync(manifest)) {
      const name = (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: unknown }).name;
      if (name === 'understudy') return directory;
    }
    const parent = dirname(directory);
    assert(parent !== directory, 'package.json of understudy is above this file');
    directory = parent;
  }
}

/** The folder with one folder per running daemon. */
export function stateRoot(): string {
  const override = process.env.UNDERSTUDY_STATE_DIR;
  if (override !== undefined && override !== '') return override;
  return join(xdg('XDG_STATE_HOME', ['.local', 'state']), 'understudy');
}

/** Where the daemon of one side of one VM keeps its socket, lock, log and console. */
export function stateDir(name: string, role: VmRole): string {
  return join(stateRoot(), `${name}-${role}`);
}

/**
 * The folder of the index of recordings (src/catalog), or null when there is to be
 * none. UNDERSTUDY_CATALOG_DIR names another one; "off" is for test runs and the like,
 * of which nobody wants a list.
 */
export function catalogDir(): string | null {
  const override = process.env.UNDERSTUDY_CATALOG_DIR;
  if (override === 'off') return null;
  if (override !== undefined && override !== '') return resolve(override);
  return join(stateRoot(), 'catalog');
}

/** The folder of one's own CA, unless another one is named (src/keys). */
export function keysDir(): string {
  return join(xdg('XDG_CONFIG_HOME', ['.config']), 'understudy', 'keys');
}

/** The folder for what can be made again: builds, hashes (as scripts/lib/cache.mjs has it). */
export function cacheRoot(): string {
  return join(xdg('XDG_CACHE_HOME', ['.cache']), 'understudy');
}

/**
 * As mkdir -p, private (mode 0700). Node's own `recursive` never returns where a
 * parent is there and still ENOENT is the answer, as below /proc.
 * @throws the system's error
 */
export function makePrivateDirs(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  if (dirname(path) !== path) makePrivateDirs(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errorCodeOf(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

/** Makes a private folder (mode 0700), parents included, and returns its path. */
export function ensureDir(path: string): string {
  try {
    makePrivateDirs(path);
  } catch (cause) {
    throw new UnderstudyError(
      'state-dir',
      `cannot make the folder ${path}: ${messageOf(cause)}; ` +
        'set UNDERSTUDY_STATE_DIR to a folder that can be written',
      { cause },
    );
  }
  return path;
}
