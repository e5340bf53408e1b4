// SPDX-License-Identifier: Apache-2.0
/** What is kept of something that may have no end. */

const CONSOLE_BYTES_MAX = 512 * 1024;
const ITEMS_MAX = 2048;

/** The newest bytes that the guest printed. */
export class ConsoleTail {
  /** All that were appended. */
  total = 0;
  readonly #bytesMax: number;
  readonly #buffer: Buffer;
  #used = 0;

  constructor(bytesMax = CONSOLE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
    this.#buffer = Buffer.alloc(2 * bytesMax);
  }

  append(bytes: Uint8Array): void {
    this.total += bytes.length;
    const part = bytes.subarray(Math.max(0, bytes.length - this.#bytesMax));
    if (this.#used + part.length > this.#buffer.length) {
      const keep = Math.min(this.#used, this.#bytesMax);
      this.#buffer.copyWithin(0, this.#used - keep, this.#used);
      this.#used = keep;
    }
    this.#buffer.set(part, this.#used);
    this.#used += part.length;
  }

  /** The newest bytes, at most `bytesMax`. */
  bytes(): Buffer {
    return this.#buffer.subarray(Math.max(0, this.#used - this.#bytesMax), this.#used);
  }
}

/** A list that leaves out every second item when it exceeds `max`; the last one stays. */
export class Thinned<T> {
  count = 0;
  readonly #max: number;
  readonly #kept: T[] = [];
  #every = 1;
  #last: T | null = null;

  constructor(max = ITEMS_MAX) {
    this.#max = max;
  }

  add(item: T): void {
    this.#last = item;
    if (this.count % this.#every === 0) this.#kept.push(item);
    this.count += 1;
    if (this.#kept.length <= this.#max) return;
    this.#every *= 2;
    const rest = this.#kept.filter((_, index) => index % 2 === 0);
    this.#kept.splice(0, this.#kept.length, ...rest);
  }

  get items(): readonly T[] {
    const isThere = this.#last === null || this.#kept.at(-1) === this.#last;
    return isThere ? this.#kept : [...this.#kept, this.#last as T];
  }

  get leftOut(): number {
    return this.count - this.items.length;
  }
}
