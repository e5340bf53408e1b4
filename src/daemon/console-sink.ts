// SPDX-License-Identifier: Apache-2.0
/**
 * Where released console bytes go: console.log, whoever is attached to the
 * status socket, and stdout when asked for. A full disk stops console.log, not
 * the VM: the bytes are in the exit log as well. A console.log of 64 MiB
 * becomes console.log.1, in the place of the one before. Nobody waits for its disk.
 */
import { close, open, openSync, rename, rmSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { WriteBehind } from '../base/write-behind.ts';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

const TOO_SLOW = 'bytes were lost: its disk takes them more slowly than the guest prints';
const closing = promisify(close);
const opening = promisify(open);
const renaming = promisify(rename);
const writing = promisify(write);

export class ConsoleSink {
  readonly #path: string;
  readonly #behind = new WriteBehind((bytes) => this.#put(bytes));
  readonly #fileBytesMax: number;
  readonly #listeners = new Set<(bytes: Buffer) => void>();
  #fd: number | null;
  #error: string | null = null;
  #bytes = 0;
  /** Bytes of these in the file that is open. */
  #fileBytes = 0;

  constructor(path: string, fileBytesMax = FILE_BYTES_MAX) {
    this.#path = path;
    this.#fileBytesMax = fileBytesMax;
    this.#fd = openSync(path, 'w', 0o600);
    rmSync(this.#older, { force: true }); // an earlier daemon's
  }

  get #older(): string {
    return `${this.#path}.1`;
  }

  /** Why console.log is incomplete, or null. */
  get error(): string | null {
    return this.#error;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @returns how to leave again */
  listen(listener: (bytes: Buffer) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  write(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#bytes += bytes.length;
    if (this.#fd !== null && !this.#behind.add(bytes)) this.#error = TOO_SLOW;
    for (const listener of this.#listeners) listener(bytes);
  }

  /** Resolves when what was written is in the file, or lost. */
  settled(): Promise<void> {
    return this.#behind.settled();
  }

  /** The same, and closes it. */
  async close(): Promise<void> {
    await this.settled();
    await this.#close();
  }

  async #put(bytes: Buffer): Promise<void> {
    if (this.#fd === null) return;
    try {
      if (this.#fileBytes >= this.#fileBytesMax) await this.#rotate();
      for (let at = 0; at < bytes.length; ) {
        const left = bytes.length - at;
        at += (await writing(this.#fd, bytes, at, left, null)).bytesWritten;
      }
      this.#fileBytes += bytes.length;
    } catch (error) {
      this.#error = messageOf(error);
      await this.#close();
    }
  }

  async #rotate(): Promise<void> {
    await renaming(this.#path, this.#older);
    const next = await opening(this.#path, 'w', 0o600);
    await this.#close();
    this.#fd = next;
    this.#fileBytes = 0;
  }

  async #close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = null;
    if (fd !== null) await closing(fd).catch(() => {});
  }
}
