// SPDX-License-Identifier: Apache-2.0
/**
 * Is the peer alive? A closed connection says no at once (the connection's
 * `closed`); silence says no after `missed` heartbeat intervals.
 *
 * Our own stall must not look like the peer's: when our timer fires late by more
 * than an interval, what the peer sent meanwhile may wait unread in the kernel,
 * so it is given one interval more, counted from now.
 */
import { assert } from '../base/assert.ts';

export interface DetectOptions {
  readonly intervalMs: number;
  readonly missed: number;
}

export interface Detection {
  readonly reason: string;
  /** From the last sign of life to this detection. */
  readonly detectMs: number;
}

export class PeerMonitor {
  readonly #intervalMs: number;
  readonly #limitMs: number;
  #heardMs: number;
  #deadlineMs: number;
  /** When `tick` is to be called next. */
  #dueMs: number;
  #stalls = 0;

  constructor(options: DetectOptions, nowMs: number) {
    assert(options.intervalMs > 0 && options.missed > 0, 'heartbeat settings are positive');
    this.#intervalMs = options.intervalMs;
    this.#limitMs = options.intervalMs * options.missed;
    this.#heardMs = nowMs;
    this.#deadlineMs = nowMs + this.#limitMs;
    this.#dueMs = nowMs + options.intervalMs;
  }

  /** Any frame of the peer is a sign of life. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
    this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + this.#limitMs);
  }

  get heardMs(): number {
    return this.#heardMs;
  }

  /** How often our own loop was found stalled. */
  get stalls(): number {
    return this.#stalls;
  }

  ageMs(nowMs: number): number {
    return Math.max(0, nowMs - this.#heardMs);
  }

  /** We refuse to read from the peer (back-pressure): its silence means nothing. */
  excuse(nowMs: number): void {
    this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + this.#limitMs);
  }

  /**
   * Call every interval, or when `untilDeadlineMs` said; the detection, or null while the peer
   * counts as alive.
   */
  tick(nowMs: number): Detection | null {
    const lateMs = nowMs - this.#dueMs;
    this.#dueMs = nowMs + this.#intervalMs;
    if (lateMs > this.#intervalMs) {
      this.#stalls += 1;
      this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + this.#intervalMs);
    }
    if (nowMs < this.#deadlineMs) return null;
    const ageMs = this.ageMs(nowMs);
    return {
      reason: `no sign of life for ${Math.round(ageMs)} ms (heartbeats every ${this.#intervalMs} ms)`,
      detectMs: ageMs,
    };
  }

  /** How long the next `tick` can wait, for who does nothing else every interval. */
  untilDeadlineMs(nowMs: number): number {
    this.#dueMs = Math.max(nowMs + 1, this.#deadlineMs);
    return this.#dueMs - nowMs;
  }
}
