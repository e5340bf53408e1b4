// SPDX-License-Identifier: Apache-2.0
/**
 * Writes one after the other, behind whoever asks for them: a disk that hangs keeps the writes
 * and not the daemon.
 */

/** What may wait for a disk. */
const BYTES_MAX = 4 * 2 ** 20;

export class WriteBehind {
  readonly #put: (bytes: Buffer) => Promise<void>;
  readonly #queue: Buffer[] = [];
  #bytes = 0;
  #running = false;
  #settled: Promise<void> = Promise.resolve();

  /** @param put never rejects */
  constructor(put: (bytes: Buffer) => Promise<void>) {
    this.#put = put;
  }

  /** @returns false: too much waits already, and this is not added */
  add(bytes: Buffer): boolean {
    if (this.#bytes + bytes.length > BYTES_MAX && this.#bytes > 0) return false;
    this.#bytes += bytes.length;
    this.#queue.push(bytes);
    if (!this.#running) this.#settled = this.#run();
    return true;
  }

  /** Resolves when all that was added is written. */
  settled(): Promise<void> {
    return this.#settled;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      await this.#put(next);
      this.#bytes -= next.length;
    }
    this.#running = false;
  }
}
