// SPDX-License-Identifier: Apache-2.0
/** Compares the console bytes of a log with console.log, as they come. */
import { closeSync, openSync, readSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../base/errors.ts';

export class ConsoleComparer {
  readonly #fd: number;
  #at: number;
  #same = true;

  /**
   * @param from bytes of the file before the first that will come
   * @throws UnderstudyError not-a-recording when there is no such file
   */
  constructor(path: string, from: number) {
    this.#at = from;
    try {
      this.#fd = openSync(path, 'r');
    } catch (cause) {
      throw new UnderstudyError('not-a-recording', `cannot read ${path}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  compare(bytes: Buffer): void {
    const recorded = Buffer.alloc(bytes.length);
    const read = readSync(this.#fd, recorded, 0, recorded.length, this.#at);
    this.#at += bytes.length;
    if (read !== bytes.length || !recorded.equals(bytes)) this.#same = false;
  }

  /** Whether all of it was the same, and there is nothing more in the file. */
  identical(): boolean {
    return this.#same && readSync(this.#fd, Buffer.alloc(1), 0, 1, this.#at) === 0;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
