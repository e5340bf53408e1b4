// SPDX-License-Identifier: Apache-2.0
/** Who follows a live VM, as the side that leads sees it. Today it is one at most. */
import type { Clock } from '../base/clock.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Goodbye } from '../wire/messages.ts';
import type { PeerSession } from '../wire/session.ts';
import type { Admission } from './admission.ts';
import { Pace } from './pace.ts';

export interface Follower {
  readonly session: PeerSession;
  /** How far behind it is, and how far ahead of it the VM may run. */
  readonly pace: Pace;
  /**
   * Its join, on which nothing depends yet. Null: outputs wait for its acks, and it may
   * take over.
   */
  admission: Admission | null;
}

/** Joins that may come to nothing in a row before the next has to wait. */
const FREE_JOINS = 2;
const JOIN_PAUSE_MS = 1000;
const JOIN_PAUSE_MS_MAX = 60_000;

export class Followers {
  readonly #protocol: Protocol;
  readonly #clock: Clock;
  readonly #all = new Map<PeerSession, Follower>();
  #pauseEndsMs = 0;
  #pauseWhy = '';
  /** In a row. */
  #joinsFailed = 0;

  constructor(protocol: Protocol, clock: Clock) {
    this.#protocol = protocol;
    this.#clock = clock;
  }

  add(session: PeerSession): Follower {
    const pace = new Pace(this.#protocol, this.#clock);
    const follower: Follower = { session, pace, admission: null };
    this.#all.set(session, follower);
    return follower;
  }

  /** It is lost. */
  remove(session: PeerSession): void {
    this.#all.delete(session);
  }

  /** Outputs wait for its acks from now on. */
  joined(follower: Follower): void {
    follower.admission = null;
    this.#joinsFailed = 0;
  }

  /**
   * Its join came to nothing. Each costs the guest a checkpoint, a copy and some of its pace, so
   * that one which always fails has to wait longer each time.
   * @param standMs how long none is to try, because the guest had to wait; 0: it had not
   */
  notJoined(session: PeerSession, standMs: number): void {
    this.#all.delete(session);
    const over = ++this.#joinsFailed - FREE_JOINS;
    const waitMs = over > 0 ? Math.min(JOIN_PAUSE_MS * 2 ** (over - 1), JOIN_PAUSE_MS_MAX) : 0;
    this.#pauseEndsMs = this.#clock.nowMs() + Math.max(standMs, waitMs);
    this.#pauseWhy =
      standMs > 0
        ? 'a guest that had to wait for the last one'
        : `${this.#joinsFailed} joins in a row that came to nothing`;
  }

  /** Why no other is to try now, or null. */
  get pause(): string | null {
    const leftMs = this.#pauseEndsMs - this.#clock.nowMs();
    if (leftMs <= 0) return null;
    return `${this.#pauseWhy}; again in ${Math.ceil(leftMs / 1000)} s`;
  }

  of(session: PeerSession): Follower | null {
    return this.#all.get(session) ?? null;
  }

  /** Nobody follows, or joins. */
  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** The one that `status` tells of. */
  get first(): Follower | null {
    const [first] = this.#all.values();
    return first ?? null;
  }

  /** Those that cover outputs with their acks, and may take over. */
  get covering(): Follower[] {
    return [...this.#all.values()].filter(({ admission }) => admission === null);
  }

  /** @param detached outputs need no acks: no lag counts */
  facts(detached: boolean) {
    const one = this.first;
    const lag = one?.pace.view(this.#clock.nowMs()) ?? null;
    const bounded = detached ? null : lag;
    return {
      peer: one?.session ?? null,
      backupPosition: one?.pace.backupPosition ?? null,
      lagMs: bounded?.ms ?? null,
      lagInstructions: bounded?.instructions ?? null,
      throttled: lag?.throttled ?? false,
      cutInterval: detached ? null : (one?.pace.interval ?? null),
    };
  }

  sayGoodbye(goodbye: Goodbye): void {
    for (const { session } of this.#all.values()) session.sayGoodbye(goodbye);
  }

  /** Ends all of them; those that join do not come to it. */
  finish(): void {
    for (const { session, admission } of this.#all.values()) {
      admission?.cancel();
      session.finish();
    }
    this.#all.clear();
  }
}
