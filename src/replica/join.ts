// SPDX-License-Identifier: Apache-2.0
/**
 * A backup joins a VM that runs already: this side of replica/admission.ts. It says
 * what it has of the disks, takes what it lacks and a checkpoint, and is then what a
 * replay that starts at that checkpoint is.
 */

import type { FirstBatch, Origin, Start } from '../log/entrance.ts';
import { FRAME } from '../log/frame.ts';
import { decodePiece, decodeStart, encodeBlocks } from '../wire/joining.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import type { PeerSession } from '../wire/session.ts';
import type { StateSink } from './ports.ts';

export class Join {
  readonly #session: PeerSession;
  readonly #sink: StateSink;
  readonly #progress: (text: string) => void;
  #pieces = 0;
  #start: Start<FirstBatch> | null = null;
  #over = false;
  #wake: () => void = () => {};

  constructor(session: PeerSession, sink: StateSink, progress: (text: string) => void) {
    this.#session = session;
    this.#sink = sink;
    this.#progress = progress;
  }

  /** @throws UnderstudyError peer-protocol, disk-full, file-io: the join is over then */
  frame(frame: Frame): void {
    if (frame.type === FRAME.PIECE && this.#start === null) {
      const piece = decodePiece(frame);
      this.#sink.put(piece);
      if (this.#pieces === 0) this.#progress('receiving disks and memory');
      this.#pieces += 1;
    } else if (frame.type === FRAME.START && this.#start === null) {
      this.#start = decodeStart(frame);
      this.#wake();
    } else {
      throw unexpected(frame, 'a primary that is joined');
    }
  }

  /** The peer is lost, or we end. */
  cancel(): void {
    this.#over = true;
    this.#wake();
  }

  /**
   * @returns null: cancelled
   * @throws UnderstudyError log-corrupt, disk-full, file-io
   */
  async run(): Promise<Origin | null> {
    try {
      return await this.#run();
    } finally {
      this.#sink.close();
    }
  }

  async #run(): Promise<Origin | null> {
    const disks = await this.#sink.blocks();
    if (this.#over) return null;
    for (const [disk, hashes] of disks.entries()) {
      for (const frame of encodeBlocks(disk, hashes)) this.#session.send(frame);
    }
    while (!this.#over && this.#start === null) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#over || this.#start === null) return null;
    this.#progress('verifying and applying what was received');
    const state = await this.#sink.finish(this.#start);
    return this.#over ? null : state;
  }
}
