// SPDX-License-Identifier: Apache-2.0
/** Bringing a VM to rest for a planned switch-over. */

import { type Clock, sleep } from '../base/clock.ts';
import type { Vm } from './ports.ts';

const REST_POLL_MS = 5;
const REST_POLLS_MAX = 20;

/** Holds the vCPU where it is: nothing new is executed, and so nothing new is logged. */
export async function bringToRest(vm: Vm, clock: Clock): Promise<void> {
  vm.holds.hold('handover', 0n);
  let before = vm.ring.snapshot();
  for (let polls = 0; polls < REST_POLLS_MAX; polls += 1) {
    await sleep(clock, REST_POLL_MS);
    const now = vm.ring.snapshot();
    if (now.visits === before.visits && now.position.icount === before.position.icount) return;
    before = now;
  }
}
