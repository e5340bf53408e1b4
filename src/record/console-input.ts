// SPDX-License-Identifier: Apache-2.0
/** What is typed, on its way into the guest: in order, in pieces, never dropped. */
import { KIND } from '../log/kinds.ts';

/** What ConsoleInput needs of the ring. */
export interface CommandRing {
  command(kind: number, channel: number, payload?: Uint8Array): boolean;
}

/** One record each: a paste of a megabyte must not be one injection. */
const PIECE_BYTES = 256;

export class ConsoleInput {
  readonly #ring: CommandRing;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;

  constructor(ring: CommandRing) {
    this.#ring = ring;
  }

  /** Bytes that the ring has had no room for; the source should pause when they grow. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  type(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      // A copy: the source may reuse its buffer.
      const piece = Buffer.from(bytes.subarray(at, at + PIECE_BYTES));
      this.#queue.push(piece);
      this.#queuedBytes += piece.length;
    }
    this.flush();
  }

  /** Tries again; to be called when QEMU has taken something. */
  flush(): void {
    for (;;) {
      const piece = this.#queue[0];
      if (piece === undefined || !this.#ring.command(KIND.CHAR_IN, 0, piece)) return;
      this.#queue.shift();
      this.#queuedBytes -= piece.length;
    }
  }
}
