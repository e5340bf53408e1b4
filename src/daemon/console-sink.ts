// SPDX-License-Identifier: Apache-2.0
/**
 * Where released console bytes go: console.log, whoever is attached to the
 * status socket, and stdout when asked for. A full disk stops console.log, not
 * the VM: the bytes are in the exit log as well.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';

export class ConsoleSink {
  readonly #listeners = new Set<(bytes: Buffer) => void>();
  #fd: number | null;
  #error: string | null = null;
  #bytes = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'w', 0o600);
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
        for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
      } catch (error) {
        this.#error = messageOf(error);
        this.close();
      }
    }
    for (const listener of this.#listeners) listener(bytes);
  }

  close(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
  }
}
