// SPDX-License-Identifier: Apache-2.0
/** A planned switch-over, as far as the side that leads prepares it: the VM stands still. */

import { type Clock, sleep } from '../base/clock.ts';
import { POWER_ON, samePoint } from '../base/position.ts';
import type { Loss } from '../wire/session.ts';
import type { Shipping, Vm } from './ports.ts';

export const HANDOVER_TIMEOUT_MS = 10_000;
/** The backup was asked to, and the fence has to decide. */
export const NOT_TAKEN_OVER: Loss = {
  reason: `the backup did not take over within ${HANDOVER_TIMEOUT_MS} ms`,
  code: 'peer-timeout',
  detectMs: HANDOVER_TIMEOUT_MS,
  goodbye: null,
};

const REST_POLL_MS = 5;
const REST_POLLS_MAX = 20;
const FLUSH_MS_MAX = 1000;

export class Handover {
  readonly #vm: Vm;
  readonly #shipping: Shipping;
  readonly #clock: Clock;
  /** Whether the gate was ours to close; null: no hand-over is under way. */
  #ownClose: boolean | null = null;

  constructor(vm: Vm, shipping: Shipping, clock: Clock) {
    this.#vm = vm;
    this.#shipping = shipping;
    this.#clock = clock;
  }

  get isUnderWay(): boolean {
    return this.#ownClose !== null;
  }

  /** Outputs stop, the VM comes to rest, and everything that it did is shipped. */
  async rest(): Promise<void> {
    this.#ownClose = this.#shipping.closedReason === null;
    this.#shipping.close('handing over to the backup');
    await this.#bringToRest();
    // A disk that hangs keeps what is left: it was never output, and need not be replayed.
    await Promise.race([this.#shipping.flush(), sleep(this.#clock, FLUSH_MS_MAX)]);
  }

  /** The backup did not take over; the vCPU's holds are the caller's to release. */
  undo(): void {
    if (this.#ownClose === true) this.#shipping.reopen();
    this.#ownClose = null;
  }

  /** Holds the vCPU where it is: nothing new is executed, and so nothing new is logged. */
  async #bringToRest(): Promise<void> {
    this.#vm.holds.hold('handover', POWER_ON.point);
    let before = this.#vm.ring.snapshot();
    for (let polls = 0; polls < REST_POLLS_MAX; polls += 1) {
      await sleep(this.#clock, REST_POLL_MS);
      const now = this.#vm.ring.snapshot();
      const stands = samePoint(now.position.point, before.position.point);
      if (now.visits === before.visits && stands) return;
      before = now;
    }
  }
}
