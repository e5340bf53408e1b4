// SPDX-License-Identifier: Apache-2.0
/** Takes a program out of the reference guest's initrd: the host need not install it too. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const HEADER_BYTES = 110;

/** Writes the file of that base name in a gzipped newc archive to `to`, executable. */
export function extractProgram(initrd: string, name: string, to: string): void {
  const archive = gunzipSync(readFileSync(initrd));
  const field = (at: number, index: number): number =>
    Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
  for (let at = 0; at + HEADER_BYTES <= archive.length; ) {
    const size = field(at, 6);
    const nameBytes = field(at, 11);
    const path = archive.toString('latin1', at + HEADER_BYTES, at + HEADER_BYTES + nameBytes - 1);
    const data = (at + HEADER_BYTES + nameBytes + 3) & ~3;
    if (path.split('/').at(-1) === name && size > 0) {
      writeFileSync(to, archive.subarray(data, data + size));
      chmodSync(to, 0o755);
      return;
    }
    if (path === 'TRAILER!!!') break;
    at = (data + size + 3) & ~3;
  }
  throw new Error(`${initrd} has no ${name}`);
}
