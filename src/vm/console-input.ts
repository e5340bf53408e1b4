// SPDX-License-Identifier: Apache-2.0
/** What is typed at a serial port, on its way into the guest: in order, in pieces, never dropped. */
import { KIND } from '../log/kinds.ts';

/** What ConsoleInput needs of the ring. */
export interface CommandRing {
  command(kind: number, channel: number, payload?: Uint8Array): boolean;
}

/** One record each: a paste of a megabyte must not be one injection. */
const PIECE_BYTES = 256;
/** QEMU tells nobody when it takes from the ring, and takes at once. */
const AGAIN_MS = 5;

export class ConsoleInput {
  readonly #ring: CommandRing;
  readonly #port: number;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param port one of CONSOLE (native/kvm-exit-log/index.ts) */
  constructor(ring: CommandRing, port = 0) {
    this.#ring = ring;
    this.#port = port;
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
    this.#flush();
  }

  /** What waits is dropped; before the ring goes. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#queuedBytes = 0;
  }

  #flush(): void {
    for (;;) {
      const piece = this.#queue[0];
      if (piece === undefined) return;
      if (!this.#ring.command(KIND.CHAR_IN, this.#port, piece)) break;
      this.#queue.shift();
      this.#queuedBytes -= piece.length;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#flush();
    }, AGAIN_MS);
  }
}
