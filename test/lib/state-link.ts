// SPDX-License-Identifier: Apache-2.0
/** Files that are laid out, and what a receiver of state tells of them. */
import { closeSync, constants, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { type Link, StateReceiver } from '../../native/kvm-exit-log/index.ts';

export const BLOCK = 32 * 1024;
export const WHOLE = { blockBytes: BLOCK, have: null };

/** Blocks of one byte: where, how many, which; byte 0 is written as well. */
export type Run = readonly [block: number, blocks: number, byte: number];

/** A file with data here and there, and holes between. @returns its path */
export function layOut(path: string, bytes: number, runs: readonly Run[]): string {
  writeFileSync(path, '');
  truncateSync(path, bytes);
  const fd = openSync(path, 'r+');
  for (const [block, blocks, byte] of runs) {
    const length = Math.min(blocks * BLOCK, bytes - block * BLOCK);
    writeSync(fd, Buffer.alloc(length, byte), 0, length, block * BLOCK);
  }
  closeSync(fd);
  return path;
}

/** Bytes within blocks of a file, where else there are holes. */
export function dot(path: string, offsets: readonly number[]): void {
  const fd = openSync(path, 'r+');
  for (const offset of offsets) writeSync(fd, 'dot', offset);
  closeSync(fd);
}

/** A receiver, and what it has told. */
export class Taken {
  readonly begins: number[] = [];
  readonly failures: string[] = [];
  readonly receiver: StateReceiver;

  constructor(link: Link, begins: (taken: Taken) => void = () => {}) {
    this.receiver = new StateReceiver(link, {
      begins: (part) => {
        this.begins.push(part);
        begins(this);
      },
      failed: ({ code, message }, part) => this.failures.push(`${code} ${part}: ${message}`),
    });
  }

  /** A file is the next part. */
  add(path: string, bytes: number, covers: 'some' | 'whole'): void {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
    this.receiver.add(fd, bytes, covers);
    closeSync(fd);
  }
}
