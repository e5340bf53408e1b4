// SPDX-License-Identifier: Apache-2.0
/**
 * Where released console bytes go: console.log, whoever is attached to the
 * status socket, and stdout when asked for. A full disk stops console.log, not
 * the VM: the bytes are in the exit log as well. A console.log of 64 MiB
 * becomes console.log.1, in the place of the one before.
 */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

export class ConsoleSink {
  readonly #path: string;
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
    if (this.#fd !== null) {
      try {
        if (this.#fileBytes >= this.#fileBytesMax) this.#rotate();
        for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
        this.#fileBytes += bytes.length;
      } catch (error) {
        this.#error = messageOf(error);
        this.close();
      }
    }
    for (const listener of this.#listeners) listener(bytes);
  }

  #rotate(): void {
    renameSync(this.#path, this.#older);
    const next = openSync(this.#path, 'w', 0o600);
    this.close();
    this.#fd = next;
    this.#fileBytes = 0;
  }

  close(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
  }
}
