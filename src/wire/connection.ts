// SPDX-License-Identifier: Apache-2.0
/**
 * A TCP connection that carries frames.
 *
 * `closed` is called exactly once, with the reason, whoever closed it; after it
 * no frame is delivered. A frame handler that throws closes the connection with
 * that error, so that a peer that lies is a peer that is lost.
 *
 * It begins on Node's event loop, for the hello; with the VM comes the courier, and
 * the descriptor moves to its thread.
 */
import type { Socket } from 'node:net';
import { AssertionFailure } from '../base/assert.ts';
import { type ErrorCode, errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { LogEntrance } from '../log/entrance.ts';
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
  /** False: the queue is long, wait for `drained` before sending more. */
  send(frame: Buffer): boolean;
  /** CLOCK_MONOTONIC of the peer's last byte; null: only whole frames are known. */
  heardMs(): number | null;
  /** Sends what is queued, then closes; `closed` follows. */
  end(): void;
  /** Closes at once; `closed` follows unless it was called already. */
  destroy(reason: string): void;
}

/** What carries the connection from the hand-over on: the addon's courier. */
export interface Carrier {
  attach(fd: number, leftover: Uint8Array, from?: LogEntrance): void;
  send(frame: Uint8Array): boolean;
  endLink(): void;
  dropLink(): void;
  heardMs(): number;
}

/** What it tells of the connection. */
export interface Carried {
  frame(bytes: Buffer): void;
  closed(code: string, message: string): void;
  drained(): void;
}

export class Connection implements Link {
  readonly remote: string;
  readonly #socket: Socket;
  #carrier: Carrier | null = null;
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

  send(frame: Buffer): boolean {
    if (this.#closed) return true;
    if (this.#carrier !== null) return this.#carrier.send(frame);
    this.#socket.write(frame);
    if (this.#socket.writableLength <= QUEUE_BYTES_HIGH) return true;
    this.#waiting = true;
    return false;
  }

  heardMs(): number | null {
    return this.#closed ? null : (this.#carrier?.heardMs() ?? null);
  }

  /**
   * From now on the courier's thread reads and writes, batches and acks by itself;
   * all other frames, and the end, still come to this connection's events. Not from
   * inside a frame's handler.
   * @param from the first batch for this peer, in our own log
   */
  handOver(carrier: Carrier, from?: LogEntrance): Carried {
    this.#moveTo(carrier, from);
    return {
      frame: (buffer) => {
        if (this.#closed) return;
        const frame = { type: buffer.readUInt16LE(4), buffer, offset: 0, length: buffer.length };
        this.#guarded(() => this.#events.frame(frame));
      },
      closed: (code, message) => this.#close(new UnderstudyError(code as ErrorCode, message)),
      drained: () => {
        if (!this.#closed) this.#events.drained();
      },
    };
  }

  #moveTo(carrier: Carrier, from?: LogEntrance): void {
    if (this.#closed) return;
    const socket = this.#socket;
    if (socket.writableLength > 0) {
      socket.write(Buffer.alloc(0), () => this.#guarded(() => this.#moveTo(carrier, from)));
      return;
    }
    const handle = (socket as unknown as { _handle: SocketHandle | null })._handle;
    // Broken a moment ago: its 'close' comes, and says so.
    if (handle === null || handle.fd < 0) return;
    handle.readStop();
    for (const event of ['data', 'end', 'error', 'close', 'drain'])
      socket.removeAllListeners(event);
    socket.on('error', () => {});
    const read: Buffer | null = socket.read();
    const leftover = [this.#parser.takeUnfinished(), read ?? Buffer.alloc(0)];
    carrier.attach(handle.fd, Buffer.concat(leftover), from);
    this.#carrier = carrier;
    // Closes our descriptor only: the courier has its own.
    socket.destroy();
  }

  end(): void {
    if (this.#closed) return;
    if (this.#carrier !== null) {
      this.#carrier.endLink();
      return;
    }
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
    if (!this.#closed) this.#guarded(() => this.#parser.push(chunk));
  }

  #guarded(run: () => void): void {
    try {
      run();
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
    if (this.#carrier !== null) this.#carrier.dropLink();
    else this.#socket.destroy();
    this.#events.closed(error);
  }
}

/** What Node's own handle of a TCP socket offers. */
interface SocketHandle {
  readonly fd: number;
  readStop(): void;
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
