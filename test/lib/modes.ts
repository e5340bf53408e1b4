// SPDX-License-Identifier: Apache-2.0
/** Who may read what a daemon or a command has made. */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A folder and all below it that others than its owner may read, write or enter, with its mode. */
export function openToOthers(dir: string): string[] {
  return ['.', ...readdirSync(dir, { recursive: true, encoding: 'utf8' })].flatMap((name) => {
    const stats = lstatSync(join(dir, name), { throwIfNoEntry: false });
    const isOpen = stats !== undefined && !stats.isSymbolicLink() && (stats.mode & 0o077) !== 0;
    return isOpen ? [`${name} 0${(stats.mode & 0o777).toString(8)}`] : [];
  });
}

/** Runs something as from a shell whose umask hides nothing. */
export async function withoutUmask<T>(run: () => Promise<T>): Promise<T> {
  const umask = process.umask(0);
  try {
    return await run();
  } finally {
    process.umask(umask);
  }
}
