// SPDX-License-Identifier: Apache-2.0
/** A QEMU whose writes to its disk take long (slow-write.c), and what it wrote when. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';
import { preloaded } from './preloaded.ts';

/** Times as process.hrtime.bigint() has them. */
export interface Write {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly offset: number;
  readonly bytes: number;
}

export class SlowWrites {
  /** For the QEMU; its image is called disk.raw. */
  readonly env: Readonly<Record<string, string>>;
  readonly #log: string;

  constructor(dir: string, ms: number) {
    const library = join(dir, 'slow-write.so');
    const source = join(root, 'test/lib/slow-write.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O', '-Wall', '-Werror', '-o', library, source]);
    this.#log = join(dir, 'writes');
    this.env = preloaded(library, { SLOW_WRITE_MS: `${ms}`, SLOW_WRITE_LOG: this.#log });
  }

  /** Those that are done, in the order of their ends. */
  list(): Write[] {
    if (!existsSync(this.#log)) return [];
    const lines = readFileSync(this.#log, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => {
      const [fromNs = '0', toNs = '0', offset, bytes] = line.split(' ');
      return {
        fromNs: BigInt(fromNs),
        toNs: BigInt(toNs),
        offset: Number(offset),
        bytes: Number(bytes),
      };
    });
  }
}

/** The clusters that they touch. */
export function clustersOf(writes: readonly Write[], clusterBytes: number): Set<number> {
  const clusters = new Set<number>();
  for (const { offset, bytes } of writes) {
    const end = offset + bytes;
    for (let at = Math.floor(offset / clusterBytes); at * clusterBytes < end; at++) {
      clusters.add(at);
    }
  }
  return clusters;
}
