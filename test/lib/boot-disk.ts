// SPDX-License-Identifier: Apache-2.0
/** A disk that boots: test/guest/boot-sector.S, then bytes that look random. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';

const BYTES = 2 ** 20;

export function makeBootDisk(image: string): void {
  const layout = '-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none';
  execFileSync('gcc', [
    ...['-m32', '-nostdlib', '-static', layout, '-o', image],
    join(root, 'test/guest/boot-sector.S'),
  ]);
  const disk = Buffer.alloc(BYTES);
  const sector = readFileSync(image).copy(disk);
  for (let at = sector; at < BYTES; at += 1) disk[at] = (at * 2654435761) >>> 24;
  writeFileSync(image, disk);
}
