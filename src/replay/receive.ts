// SPDX-License-Identifier: Apache-2.0
/**
 * Step 5 of the data path: verify a batch, store it, acknowledge it.
 *
 * An ack is a promise that this side holds the log: it goes out only after the
 * write to the segment returned (and, with durability "disk", was fdatasynced).
 * Acks are coalesced: one for all that was stored in a turn of the event loop.
 */
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { BatchLog, BatchReader, Clock, FrameFacts } from '../daemon/ports.ts';
import { CorruptLogError } from '../log/errors.ts';
import type { Frame } from '../wire/parser.ts';

export interface ReceiveOptions {
  readonly clock: Clock;
  readonly reader: BatchReader;
  readonly log: BatchLog;
  readonly vmId: Buffer;
  readonly term: number;
  /** A verified batch, to replay; before it is stored, as replaying needs no promise. */
  readonly received: (bytes: Buffer, facts: FrameFacts) => void;
  /** The log up to and including this batch is stored. */
  readonly ack: (facts: FrameFacts) => void;
  /** The log cannot be stored: no ack will come any more. Called once. */
  readonly failed: (reason: string) => void;
}

export class Receiver {
  readonly #o: ReceiveOptions;
  #last: FrameFacts | null = null;
  #stored: FrameFacts | null = null;
  #ackDue = false;
  #failed = false;
  #closed = false;
  #bytes = 0;

  constructor(options: ReceiveOptions) {
    this.#o = options;
  }

  /** The last batch received, null before the first. */
  get last(): FrameFacts | null {
    return this.#last;
  }

  /** The last batch that is stored. */
  get stored(): FrameFacts | null {
    return this.#stored;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** No ack leaves any more: this side takes over, or gives up. */
  close(): void {
    this.#closed = true;
  }

  /** @throws UnderstudyError peer-protocol, naming what does not fit */
  batch(frame: Frame): void {
    const facts = this.#verify(frame);
    this.#last = facts;
    this.#bytes += frame.length;
    const bytes = frame.buffer.subarray(frame.offset, frame.offset + frame.length);
    this.#o.received(bytes, facts);
    if (this.#failed) return;
    this.#o.log.append(bytes, (error) => {
      if (error !== null) this.#fail(messageOf(error));
      else this.#storedUpTo(facts);
    });
  }

  #verify(frame: Frame): FrameFacts {
    let facts: FrameFacts;
    try {
      facts = this.#o.reader.check(frame.buffer, frame.offset, frame.length);
    } catch (cause) {
      if (!(cause instanceof CorruptLogError)) throw cause;
      throw wrong(`a damaged batch: ${cause.reason}`);
    }
    const expected = this.#last === null ? 0n : this.#last.sequence + 1n;
    if (!facts.vmId.equals(this.#o.vmId)) {
      throw wrong(`a batch of another VM (${facts.vmId.toString('hex')})`);
    }
    if (facts.term !== this.#o.term) {
      throw wrong(`a batch of term ${facts.term}, this is term ${this.#o.term}`);
    }
    if (facts.sequence !== expected) {
      throw wrong(`batch ${facts.sequence} where batch ${expected} is due`);
    }
    const prevChecksum = this.#last?.checksum ?? 0n;
    if (facts.prevChecksum !== prevChecksum) {
      throw wrong(`batch ${facts.sequence} of another log: it does not follow the one before`);
    }
    const recordBase = this.#last?.recordEnd ?? 0n;
    if (facts.recordBase !== recordBase) {
      throw wrong(`batch ${facts.sequence} from record ${facts.recordBase}, ${recordBase} is due`);
    }
    return facts;
  }

  #storedUpTo(facts: FrameFacts): void {
    if (this.#failed) return;
    this.#stored = facts;
    if (this.#ackDue) return;
    this.#ackDue = true;
    this.#o.clock.soon(() => {
      this.#ackDue = false;
      if (this.#closed || this.#failed || this.#stored === null) return;
      this.#o.ack(this.#stored);
    });
  }

  #fail(reason: string): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#o.failed(reason);
  }
}

function wrong(what: string): UnderstudyError {
  return new UnderstudyError('peer-protocol', `the primary sent ${what}`);
}
