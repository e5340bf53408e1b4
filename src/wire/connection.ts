// SPDX-License-Identifier: Apache-2.0
/**
 * A TCP connection that carries frames.
 *
 * `closed` is called exactly once, with the reason, whoever closed it; after it
 * no frame is delivered. A frame handler that throws closes the connection with
 * that error, so that a peer that lies is a peer that is lost.
 */
import type { Socket } from 'node:net';
import { AssertionFailure } from '../base/assert.ts';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import { type Frame, FrameParser } from './parser.ts';

/** Bytes queued for sending above which `send` asks to wait. */
const QUEUE_BYTES_HIGH = 4 * 1024 * 1024;

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
  /** False: the queue is long, wait for `drained` before sending batches. */
  send(frame: Buffer, sent?: () => void): boolean;
  /** Stops and resumes delivery of frames (back-pressure). */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes; `closed` follows. */
  end(): void;
  /** Closes at once; `closed` follows unless it was called already. */
  destroy(reason: string): void;
}

export class Connection implements Link {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #events: LinkEvents;
  readonly #parser: FrameParser;
  #closed = false;
  #waiting = false;

  /** @param remote for messages; needed where the socket still connects */
  constructor(socket: Socket, events: LinkEvents, remote?: string) {
    this.#socket = socket;
    this.#events = events;
    this.remote = remote ?? `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? '?'}`;
    this.#parser = new FrameParser((frame) => {
      // A handler may close the connection in the middle of a chunk.
      if (!this.#closed) this.#events.frame(frame);
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('end', () => this.#close(this.#lost('the peer closed the connection')));
    socket.on('error', (error) => this.#close(this.#lost(describe(error))));
    socket.on('close', () => this.#close(this.#lost('the connection closed')));
    socket.on('drain', () => {
      if (!this.#waiting || this.#closed) return;
      this.#waiting = false;
      this.#events.drained();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(frame: Buffer, sent?: () => void): boolean {
    if (this.#closed) {
      sent?.();
      return true;
    }
    // The callback comes on errors too: it says that the bytes are no longer ours.
    this.#socket.write(frame, sent === undefined ? undefined : () => sent());
    if (this.#socket.writableLength <= QUEUE_BYTES_HIGH) return true;
    this.#waiting = true;
    return false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    if (this.#closed) return;
    // A peer that does not read must not keep us: what is queued gets a second.
    const socket = this.#socket;
    const timer = setTimeout(() => socket.destroy(), 1000);
    timer.unref();
    socket.end(() => {
      clearTimeout(timer);
      socket.destroy();
    });
  }

  destroy(reason: string): void {
    this.#close(new UnderstudyError('peer-lost', reason));
  }

  #data(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (error instanceof AssertionFailure) throw error;
      this.#close(asPeerError(error));
    }
  }

  #lost(what: string): UnderstudyError {
    const rest = this.#parser.unfinished;
    const inside =
      rest === null
        ? ''
        : rest.of === null
          ? `, in the middle of a frame prefix (${rest.have} of 16 bytes)`
          : `, in the middle of a frame (${rest.have} of ${rest.of} bytes)`;
    return new UnderstudyError('peer-lost', `${what}${inside}`);
  }

  #close(error: UnderstudyError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#events.closed(error);
  }
}

function describe(error: Error): string {
  const code = errorCodeOf(error);
  return code === null ? messageOf(error) : `connection error ${code}`;
}

/** What a frame handler threw, as the error that a lost peer is reported with. */
export function asPeerError(error: unknown): UnderstudyError {
  if (error instanceof UnderstudyError) return error;
  return new UnderstudyError('peer-protocol', messageOf(error), { cause: error });
}
