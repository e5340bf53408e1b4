// SPDX-License-Identifier: Apache-2.0
/**
 * A file that lines are added to and that does not grow for ever: when it is full it becomes
 * FILE.1, in the place of the one before. A line that cannot be written is counted; the next
 * that can is told how many there were. Nobody waits for its disk.
 */
import { close, fstatSync, mkdirSync, open, openSync, rename, write } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { WriteBehind } from './write-behind.ts';

const closing = promisify(close);
const opening = promisify(open);
const renaming = promisify(rename);
const writing = promisify(write);

export class RotatingFile {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #lost: (lines: number) => string;
  readonly #behind = new WriteBehind((line) => this.#put(line));
  #fd: number;
  #bytes: number;
  #lostLines = 0;
  /** The disk was full in the middle of a line. */
  #isTorn = false;

  /**
   * @param lost the line about lines that are lost
   * @throws the system's error
   */
  constructor(path: string, bytesMax: number, lost: (lines: number) => string) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#lost = lost;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#fd = openSync(path, 'a', 0o600);
    this.#bytes = fstatSync(this.#fd).size;
  }

  write(line: string): void {
    if (!this.#behind.add(Buffer.from(line))) this.#lostLines += 1;
  }

  /** Resolves when all lines are written, or lost. */
  settled(): Promise<void> {
    return this.#behind.settled();
  }

  async #put(line: Buffer): Promise<void> {
    try {
      if (this.#bytes >= this.#bytesMax) await this.#rotate();
      if (this.#isTorn) await this.#add(Buffer.from('\n'));
      this.#isTorn = false;
      if (this.#lostLines > 0) {
        const lines = this.#lostLines;
        await this.#add(Buffer.from(this.#lost(lines)));
        this.#lostLines -= lines;
      }
      await this.#add(line);
    } catch {
      // A full disk: whoever writes a log goes on without it.
      this.#lostLines += 1;
    }
  }

  async #add(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await writing(this.#fd, bytes, at, bytes.length - at, null);
      at += bytesWritten;
      this.#bytes += bytesWritten;
      this.#isTorn = at < bytes.length;
    }
  }

  async #rotate(): Promise<void> {
    // It may be gone: renamed by a try before this one, which found no room for the next.
    await renaming(this.#path, `${this.#path}.1`).catch(unlessMissing);
    const next = await opening(this.#path, 'a', 0o600);
    await closing(this.#fd);
    this.#fd = next;
    this.#bytes = 0;
  }
}

function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
