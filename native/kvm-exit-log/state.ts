// SPDX-License-Identifier: Apache-2.0
/**
 * A VM's state on its way over a link: files become STATE frames at one end and files at the
 * other, and no byte of them passes through JavaScript. Parts have numbers that both ends
 * have agreed on (schema/wire.capnp, struct State).
 */
import type { Link } from './link.ts';
import { type NativeStateReceiver, type NativeStateSender, native } from './native.ts';

/** A failed read or write, as the system names it; or peer-protocol. */
export interface StateFailure {
  readonly code: string;
  readonly message: string;
}

export class StateSender {
  readonly #native: NativeStateSender;
  #settle: ((failure: StateFailure | null) => void) | null = null;
  #progress: (bytes: number) => void = () => {};
  #closed = false;

  /** ERR_RING_STATE for a link that is over, with a courier, or has a sender already. */
  constructor(link: Link) {
    this.#native = new native.StateSender(link.native, (event, ...words) => {
      if (event === 'sent') this.#progress(words[0] as number);
      else if (event === 'done') this.#settle?.(null);
      else this.#settle?.({ code: words[0] as string, message: words[1] as string });
    });
  }

  /**
   * Sends a file, one after the other: all of it, or the blocks that the peer has not. Reads
   * about 4 MiB ahead of what the link takes.
   * @param have what the peer has: xxh64 (seed 0) of each block; null: nothing
   * @param progress told bytes of the file that are with the link, or need not be sent, a
   *   megabyte at least apart
   * @returns false: closed before it was all with the link
   * @throws a system error (`code`); EIO also if the file has not the length of the hashes
   */
  async send(
    part: number,
    path: string,
    { blockBytes, have }: { readonly blockBytes: number; readonly have: BigUint64Array | null },
    progress: (bytes: number) => void,
  ): Promise<boolean> {
    if (this.#closed) return false;
    const failure = await new Promise<StateFailure | null>((resolve) => {
      this.#settle = resolve;
      this.#progress = progress;
      this.#native.send(part, path, blockBytes, have ?? undefined);
    });
    this.#settle = null;
    if (failure !== null) throw Object.assign(new Error(failure.message), { code: failure.code });
    return !this.#closed;
  }

  /** Frames that were made. */
  get pieces(): bigint {
    return this.#native.pieces();
  }

  /** The link is free for a courier, and nothing more is sent. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#native.close();
    this.#settle?.(null);
  }
}

export interface StateReceiverEvents {
  /** Before the first byte of this part is written; it may close. Never throws. */
  begins(part: number): void;
  /**
   * A piece was refused (peer-protocol), or could not be written: nothing more is. Once.
   * @param part that it was written to
   */
  failed(failure: StateFailure, part: number): void;
}

/** Takes the STATE frames of a link; all other frames are told by the link as before. */
export class StateReceiver {
  readonly #native: NativeStateReceiver;
  #done: (whole: boolean) => void = () => {};
  #closing: Promise<void> | null = null;
  #closed: () => void = () => {};
  #over = false;

  /** ERR_RING_STATE for a link that is over, with a courier, or has a receiver already. */
  constructor(link: Link, events: StateReceiverEvents) {
    this.#native = new native.StateReceiver(link.native, (event, ...words) => {
      if (event === 'begins') events.begins(words[0] as number);
      else if (event === 'done') this.#done(true);
      else if (event === 'closed') this.#closed();
      else {
        this.#over = true;
        const [code, message, part] = words as [string, string, number];
        events.failed({ code, message }, part);
        this.#done(false);
      }
    });
  }

  /**
   * The next part: an open file, whose descriptor is copied.
   * @param covers 'some': what comes of it ascends; 'whole': it begins at 0, without gaps
   */
  add(fd: number, bytes: number, covers: 'some' | 'whole'): void {
    this.#native.add(fd, bytes, covers === 'whole');
  }

  /**
   * Everything has been handed to the link: resolves when it is written.
   * @returns false: closed, or `failed`, also because something is missing
   */
  async end(pieces: bigint): Promise<boolean> {
    if (this.#over || this.#closing !== null) return false;
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#native.end(pieces);
    });
  }

  /** 4 MiB wait to be written: the link is not read. */
  get pressed(): boolean {
    return this.#closing === null && this.#native.pressed();
  }

  /** The link is free for a courier. Resolves when nothing is written any more. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#closed = resolve;
      this.#native.close();
      this.#done(false);
    });
    return this.#closing;
  }
}
