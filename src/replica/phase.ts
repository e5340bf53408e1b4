// SPDX-License-Identifier: Apache-2.0
/** The state of a replica, as `status` shows it: one word and the reason for it. */
import type { Report } from './ports.ts';

export type ReplicaState =
  | 'starting'
  | 'syncing'
  | 'protected'
  | 'needs-backup'
  | 'standby'
  | 'stopped';

export class Phase {
  readonly #report: Report;
  #state: ReplicaState = 'starting';
  #reason: string;
  #percent: number | null = null;

  constructor(report: Report, reason: string) {
    this.#report = report;
    this.#reason = reason;
  }

  get state(): ReplicaState {
    return this.#state;
  }

  get reason(): string {
    return this.#reason;
  }

  /** How far `syncing` is while a backup joins a running VM; else null. */
  get percent(): number | null {
    return this.#percent;
  }

  /** `syncing`: reported when it does something else, not at each percent. */
  progress(percent: number, reason: string): void {
    this.set('syncing', reason);
    this.#percent = Math.min(99, Math.floor(percent));
  }

  set(state: ReplicaState, reason: string): void {
    this.#percent = null;
    if (state === this.#state && reason === this.#reason) return;
    this.#state = state;
    this.#reason = reason;
    this.#report(state, { reason });
  }
}
