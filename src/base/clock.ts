// SPDX-License-Identifier: Apache-2.0
/** Time as the state machines see it: the host's, or the simulation's. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic. */
  nowMs(): number;
  /** CLOCK_REALTIME. */
  realtimeNs(): bigint;
  after(ms: number, run: () => void): Timer;
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}
