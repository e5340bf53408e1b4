// SPDX-License-Identifier: Apache-2.0
/**
 * Tells a hung QEMU from an idle one.
 *
 * `heartbeat` grows while its io thread lives, so standing still is a hang
 * (a deadlock on the big lock, a stopped process). `visits` grows with the
 * vCPU loop, but rests while the guest sleeps or QEMU waits for us: only a vCPU
 * that burns host time without a visit hangs.
 */

import { testHookNumber } from '../base/test-hooks.ts';

/** The part of the ring's status that the watchdog reads. */
export interface WatchedStatus {
  readonly heartbeat: bigint | number;
  readonly visits: bigint | number;
  readonly error: string;
}

export interface WatchdogOptions {
  readonly status: () => WatchedStatus;
  /** CPU time of the process, null when unknown. */
  readonly cpuMs: () => number | null;
  readonly timeoutMs: number;
  readonly onHang: (why: string) => void;
  /** How often to look; default 500 ms. */
  readonly periodMs?: number;
}

/** Shorter in a pair, where the other side can take over. */
const HANG_MS = { pair: 3000, alone: 10_000 } as const;

/** How long no progress is no hang yet. */
export function hangTimeoutMs(vm: keyof typeof HANG_MS): number {
  return testHookNumber('UNDERSTUDY_HANG_TIMEOUT_MS') ?? HANG_MS[vm];
}

/** A process that loads its firmware from a slow disk has no heartbeat yet. */
const START_TIMEOUT_FACTOR = 3;

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #periodMs: number;
  #timer: NodeJS.Timeout | null = null;
  #heartbeat: bigint | number = 0;
  #visits: bigint | number = 0;
  #quietMs = 0;
  #unvisitedMs = 0;
  #cpuAtVisit: number | null = null;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#periodMs = options.periodMs ?? 500;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), this.#periodMs);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * One look. Time is counted in looks and not by a clock, so that a daemon or a
   * host that was itself suspended finds no hang when it comes back.
   */
  look(): void {
    const { heartbeat, visits } = this.#options.status();
    const { timeoutMs, onHang } = this.#options;
    this.#quietMs = heartbeat === this.#heartbeat ? this.#quietMs + this.#periodMs : 0;
    this.#heartbeat = heartbeat;
    const started = Number(heartbeat) > 0;
    const limitMs = started ? timeoutMs : timeoutMs * START_TIMEOUT_FACTOR;
    if (this.#quietMs >= limitMs) {
      this.stop();
      onHang(`its io thread has not moved for ${this.#quietMs / 1000} s`);
      return;
    }
    if (visits !== this.#visits || this.#cpuAtVisit === null) {
      this.#visits = visits;
      this.#unvisitedMs = 0;
      this.#cpuAtVisit = this.#options.cpuMs();
      return;
    }
    this.#unvisitedMs += this.#periodMs;
    const cpuMs = this.#options.cpuMs();
    if (this.#unvisitedMs < timeoutMs || cpuMs === null) return;
    // Half: on a busy host it may not get a whole CPU.
    if (started && cpuMs - this.#cpuAtVisit >= timeoutMs / 2) {
      this.stop();
      onHang(`its vCPU has been busy for ${this.#unvisitedMs / 1000} s without a visit`);
    }
  }
}
