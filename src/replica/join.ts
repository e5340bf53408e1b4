// SPDX-License-Identifier: Apache-2.0
/**
 * A backup joins a VM that runs already: this side of replica/admission.ts. It says
 * what it has of the disks, takes what it lacks and a checkpoint, and is then what a
 * replay that starts at that checkpoint is.
 */

import { UnderstudyError } from '../base/errors.ts';
import type { Origin } from '../log/entrance.ts';
import { FRAME } from '../log/frame.ts';
import {
  decodeCheckpoint,
  decodeProtected,
  decodeStart,
  encodeBlocks,
  type Sent,
} from '../wire/joining.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import type { Loss, PeerSession } from '../wire/session.ts';
import type { StateSink } from './ports.ts';

/** A peer that is lost so may be found again; another one has to be looked at by somebody. */
const PASSING: ReadonlySet<string> = new Set(['peer-lost', 'peer-timeout']);

/** What the peer sent is damaged, or does not fit: another time it may be good. */
export class BadState extends UnderstudyError {}

const BAD: ReadonlySet<string> = new Set(['peer-protocol', 'log-corrupt']);

export class Join {
  readonly #session: PeerSession;
  readonly #sink: StateSink;
  readonly #progress: (text: string) => void;
  #open = false;
  #sent: Sent | null = null;
  #drained = true;
  #over = false;
  #failure: UnderstudyError | null = null;
  #wake: () => void = () => {};

  constructor(session: PeerSession, sink: StateSink, progress: (text: string) => void) {
    this.#session = session;
    this.#sink = sink;
    this.#progress = progress;
  }

  /** While true, the peer's silence is of our own making. */
  get pressed(): boolean {
    return this.#sink.pressed;
  }

  /**
   * A frame that is damaged, or does not fit, ends `run`: then the peer is told why.
   * @throws UnderstudyError peer-protocol: it has no place here
   */
  frame(frame: Frame): void {
    const isDue = this.#open && this.#sent === null;
    if (!isDue || (frame.type !== FRAME.CHECKPOINT && frame.type !== FRAME.START)) {
      throw unexpected(frame, 'a primary that is joined');
    }
    try {
      if (frame.type === FRAME.CHECKPOINT) this.#sink.checkpoint(decodeCheckpoint(frame));
      else this.#sent = decodeStart(frame);
      this.#wake();
    } catch (error) {
      if (!(error instanceof UnderstudyError)) throw error;
      this.#fail(error);
    }
  }

  /** Its primary counts on it: what has come is a VM. */
  entitled(): void {
    this.#sink.entitled();
  }

  /** What is queued for the peer is sent. */
  drained(): void {
    this.#drained = true;
    this.#wake();
  }

  lost({ code, reason }: Loss): void {
    if (PASSING.has(code)) this.cancel();
    else this.#fail(new UnderstudyError(code, reason));
  }

  /** The peer is lost, or we end. */
  cancel(): void {
    this.#over = true;
    this.#wake();
  }

  /**
   * @returns null: cancelled
   * @throws BadState peer-protocol, log-corrupt
   * @throws UnderstudyError disk-full, log-write, file-io
   */
  async run(): Promise<Origin | null> {
    try {
      return await this.#run();
    } catch (cause) {
      const isBad = cause instanceof UnderstudyError && BAD.has(cause.code);
      throw isBad ? new BadState(cause.code, cause.message, { cause }) : cause;
    } finally {
      await this.#sink.close();
    }
  }

  async #run(): Promise<Origin | null> {
    const disks = await this.#sink.blocks();
    if (!(await this.#until(() => true))) return null;
    this.#sink.open(this.#session, {
      receiving: () => this.#progress('receiving disks and memory'),
      failed: (error) => this.#fail(error),
    });
    this.#open = true;
    for (const [disk, hashes] of disks.entries()) {
      for (const frame of encodeBlocks(disk, hashes)) {
        this.#drained = this.#session.send(frame);
        if (!this.#drained && !(await this.#until(() => this.#drained))) return null;
      }
    }
    if (!(await this.#until(() => this.#sent !== null)) || this.#sent === null) return null;
    this.#progress('verifying and applying what was received');
    const origin = await this.#sink.finish(this.#sent);
    return (await this.#until(() => true)) ? origin : null;
  }

  #fail(error: UnderstudyError): void {
    this.#failure ??= error;
    this.#wake();
  }

  /** @returns false when cancelled. @throws UnderstudyError why it cannot go on */
  async #until(done: () => boolean): Promise<boolean> {
    while (!this.#over && this.#failure === null && !done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== null && !this.#over) throw this.#failure;
    return !this.#over;
  }
}

/**
 * PROTECTED: this side may take over, if it has what the primary counts on.
 * @param stored the last batch that is here
 * @throws UnderstudyError peer-protocol
 */
export function checkProtected(frame: Frame, ownTerm: number, stored: bigint | null): void {
  const { sequence, term } = decodeProtected(frame);
  if (term === ownTerm && stored !== null && stored >= sequence) return;
  throw new UnderstudyError(
    'peer-protocol',
    `it counts on batch ${sequence} of term ${term}; here is ${stored} of ${ownTerm}`,
  );
}
