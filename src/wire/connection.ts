// SPDX-License-Identifier: Apache-2.0
/**
 * A connection that carries frames, as the state machines see it.
 *
 * `closed` is called exactly once, with the reason, whoever closed it; after it
 * no frame is delivered. A frame handler that throws closes the connection with
 * that error, so that a peer that lies is a peer that is lost.
 */
import {
  type Courier,
  type Link as NativeLink,
  StateReceiver,
  type StateReceiverEvents,
  StateSender,
} from '../../native/kvm-exit-log/index.ts';
import { AssertionFailure } from '../base/assert.ts';
import { type ErrorCode, messageOf, UnderstudyError } from '../base/errors.ts';
import type { LogEntrance } from '../log/entrance.ts';
import type { Frame } from './parser.ts';

export interface LinkEvents {
  frame(frame: Frame): void;
  /** Never thrown into; `error.code` is peer-lost or peer-protocol. */
  closed(error: UnderstudyError): void;
  /** The queue is empty again after `send` returned false. */
  drained(): void;
}

/** What the state machines need of a connection; a simulation has its own. */
export interface Link {
  readonly remote: string;
  /** False: the queue is long, wait for `drained` before sending more. */
  send(frame: Buffer): boolean;
  /** CLOCK_MONOTONIC of the peer's last byte; null: only whole frames are known. */
  heardMs(): number | null;
  /**
   * Sends a heartbeat. True: goes on so by itself, each `intervalMs`, for `forMs`; what it hears
   * of the peer meanwhile has to be asked for.
   */
  beat(frame: Buffer, intervalMs: number, forMs: number): boolean;
  /** The last heartbeat that was not told as a frame, once, and CLOCK_REALTIME of then. */
  heardBeat(): { readonly frame: Frame; readonly atNs: bigint } | null;
  /** Sends what is queued, then closes; `closed` follows. */
  end(): void;
  /** Closes at once; `closed` follows unless it was called already. */
  destroy(reason: string): void;
}

export class Connection implements Link {
  readonly remote: string;
  readonly #link: NativeLink;
  readonly #events: LinkEvents;
  #closed = false;
  #heardMs: number | null = null;

  constructor(link: NativeLink, events: LinkEvents) {
    this.remote = link.remote;
    this.#link = link;
    this.#events = events;
    link.start({
      frame: (buffer) => this.#frame(buffer),
      closed: (code, message) => this.#close(new UnderstudyError(code as ErrorCode, message)),
      drained: () => events.drained(),
    });
  }

  send(frame: Buffer): boolean {
    return this.#link.send(frame);
  }

  heardMs(): number | null {
    return this.#closed ? this.#heardMs : this.#link.heardMs();
  }

  beat(frame: Buffer, intervalMs: number, forMs: number): boolean {
    return this.#link.beat(frame, intervalMs, forMs);
  }

  heardBeat(): { frame: Frame; atNs: bigint } | null {
    const heard = this.#closed ? null : this.#link.heardBeat();
    return heard === null ? null : { frame: frameOf(heard.frame), atNs: heard.atNs };
  }

  /**
   * From now on the courier's thread reads and writes, batches and acks by itself;
   * all other frames, and the end, still come to this connection's events.
   * @param from the first batch for this peer, in our own log
   */
  handOver(courier: Courier, from?: LogEntrance): void {
    if (!this.#closed) courier.attach(this.#link, from);
  }

  /** Sends files as STATE frames, among all else that is sent; until it is closed. */
  sendState(): StateSender {
    return new StateSender(this.#link);
  }

  /** Its STATE frames become files from now on; until it is closed. */
  receiveState(events: StateReceiverEvents): StateReceiver {
    return new StateReceiver(this.#link, events);
  }

  end(): void {
    this.#link.end();
  }

  destroy(reason: string): void {
    this.#close(new UnderstudyError('peer-lost', reason));
  }

  #frame(buffer: Buffer): void {
    try {
      this.#events.frame(frameOf(buffer));
    } catch (error) {
      if (error instanceof AssertionFailure) throw error;
      this.#close(asPeerError(error));
    }
  }

  #close(error: UnderstudyError): void {
    if (this.#closed) return;
    this.#heardMs = this.#link.heardMs();
    this.#closed = true;
    this.#link.drop();
    this.#events.closed(error);
  }
}

const frameOf = (buffer: Buffer): Frame => ({
  type: buffer.readUInt16LE(4) as Frame['type'],
  buffer,
  offset: 0,
  length: buffer.length,
});

/** What a frame handler threw, as the error that a lost peer is reported with. */
export function asPeerError(error: unknown): UnderstudyError {
  if (error instanceof UnderstudyError) return error;
  return new UnderstudyError('peer-protocol', messageOf(error), { cause: error });
}
