// SPDX-License-Identifier: Apache-2.0
/**
 * A TCP connection that carries frames. The addon has its socket from the first byte on:
 * this event loop reads and writes it until `Courier.attach` takes it to the courier's
 * thread, and nothing of that is seen from here.
 */
import { ADDRCONFIG, promises as dns, type LookupAddress, lookup } from 'node:dns';
import { errorCodeOf } from '../../src/base/errors.ts';
import { type NativeKeys, type NativeLink, type NativeListener, native } from './native.ts';

export interface LinkEvents {
  /** A whole frame; from the hand-over on only one that the courier has no use for. */
  frame(frame: Buffer): void;
  /** Once, after everything received before it; code is peer-lost, -protocol or -untrusted. */
  closed(code: string, message: string): void;
  /** The send queue is empty again after `send` returned false. */
  drained(): void;
}

/** Texts of PEM files. */
export interface KeyTexts {
  /** Certificates of those who sign. */
  readonly ca: string;
  /** This side's, then those between it and the CA. */
  readonly cert: string;
  readonly key: string;
  /** Lists of revoked certificates; null: nobody looks. */
  readonly crl: string | null;
}

/** AES-GCM may seal 2^24.5 records with a key (RFC 8446, 5.5). */
const RECORDS_PER_KEY = 2 ** 23;

/** What one side shows others, and whom it lets in. */
export class Keys {
  /** For Link. */
  readonly native: NativeKeys;

  /** @throws Error ERR_KEYS, which names the text that is wrong */
  constructor({ ca, cert, key, crl }: KeyTexts, recordsPerKey = RECORDS_PER_KEY) {
    this.native = new native.Keys(ca, cert, key, crl ?? '', recordsPerKey);
  }

  /** The URIs that its certificate names. */
  get names(): readonly string[] {
    return this.native.names();
  }

  /** When it expires, as Date.now(). */
  get endsMs(): number {
    return this.native.endsMs();
  }

  /** Why nobody of the same CA would take it now ("has expired"); null: they would. */
  get fault(): string | null {
    return this.native.ownFault() || null;
  }
}

/** TLS 1.3 with a peer whose certificate has that name. */
export interface Security {
  readonly keys: Keys;
  readonly peerName: string;
}

const EVENTS = native.courierWords.events;

export class Link {
  readonly #native: NativeLink;
  readonly #to: { readonly host: string; readonly port: number } | null;
  /** "10.0.0.1:7700", for people. */
  readonly remote: string;

  private constructor(link: NativeLink, to: { host: string; port: number } | null) {
    this.#native = link;
    this.#to = to;
    this.remote = to === null ? link.remote() : `${to.host}:${to.port}`;
  }

  /** One that connects when it starts; that it cannot is told as `closed`. */
  static to(host: string, port: number, security: Security | null = null): Link {
    const link = new native.Link();
    if (security !== null) link.secure(security.keys.native, false, security.peerName);
    return new Link(link, { host, port });
  }

  /** The next one that waits at a listener. */
  static of(listener: NativeListener, security: Security | null = null): Link | null {
    const link = new native.Link();
    if (security !== null) link.secure(security.keys.native, true, security.peerName);
    return listener.accept(link) ? new Link(link, null) : null;
  }

  /** Nothing is read, and nothing told, before this. Once, else ERR_RING_STATE. */
  start(events: LinkEvents): void {
    this.#native.start((kind, text, more, bytes) => {
      switch (EVENTS[kind]) {
        case 'frame':
          events.frame(bytes);
          return;
        case 'closed':
          events.closed(text, more);
          return;
        case 'drained':
          events.drained();
      }
    });
    if (this.#to === null) return;
    lookup(this.#to.host, { all: true, hints: ADDRCONFIG }, this.#connect);
  }

  readonly #connect = (error: Error | null, found: LookupAddress[]): void => {
    if (error !== null) this.#native.lost(`connection error ${errorCodeOf(error) ?? 'EIO'}`);
    else
      this.#native.connect(
        found.map(({ address }) => address),
        this.#to?.port ?? 0,
      );
  };

  /**
   * A whole frame; before it is connected it waits. False: the queue is long, wait for
   * `drained`. Whether it arrives nobody knows; what is closed takes all and sends nothing.
   */
  send(frame: Uint8Array): boolean {
    return this.#native.send(frame);
  }

  /** Sends what is queued, within a second, then closes; `closed` follows. */
  end(): void {
    this.#native.end();
  }

  /** Closes at once; nothing is told any more. */
  drop(): void {
    this.#native.drop();
  }

  /** CLOCK_MONOTONIC of the last byte of the peer, read by us or not; 0: no connection. */
  heardMs(): number {
    return this.#native.heardMs();
  }

  /**
   * A heartbeat, at once. True: a courier has this link, and sends its words each
   * `intervalMs`, with counter, times and position of then, for `forMs` from now on; such a
   * heartbeat of the peer is kept for `heardBeat`.
   */
  beat(frame: Uint8Array, intervalMs: number, forMs: number): boolean {
    return this.#native.beat(frame, intervalMs, forMs);
  }

  /**
   * The peer's last heartbeat that repeats the words of one that was told as a frame; null: none
   * since the last call.
   */
  heardBeat(): { readonly frame: Buffer; readonly atNs: bigint } | null {
    const heard = this.#native.heardBeat();
    return heard === null ? null : { frame: heard[0], atNs: heard[1] };
  }

  /** For Courier. */
  get native(): NativeLink {
    return this.#native;
  }
}

/** Where others connect to us. Keeps the event loop alive until `close`. */
export class Listener {
  readonly #native: NativeListener;

  private constructor(
    address: string,
    port: number,
    accepted: (link: Link) => void,
    security: () => Security | null,
  ) {
    this.#native = new native.Listener(address, port, () => {
      const link = Link.of(this.#native, security());
      if (link !== null) accepted(link);
    });
  }

  /**
   * @param accepted has the link from then on. While this process has no descriptor left,
   *   whoever comes is turned away
   * @param security asked for each one that comes
   * @throws a system error (`code` as EADDRINUSE, ENOTFOUND), in the words of node:net
   */
  static async on(
    host: string,
    port: number,
    accepted: (link: Link) => void,
    security: () => Security | null = () => null,
  ): Promise<Listener> {
    const { address } = await dns.lookup(host);
    return new Listener(address, port, accepted, security);
  }

  get port(): number {
    return this.#native.port();
  }

  /** What was accepted stays. Idempotent. */
  close(): void {
    this.#native.close();
  }
}
