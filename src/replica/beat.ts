// SPDX-License-Identifier: Apache-2.0
/** What a heartbeat says of a replica. */
import { POWER_ON } from '../base/position.ts';
import type { Beat } from '../wire/session.ts';
import type { Vm } from './ports.ts';

/** What a side says of itself; all zero before it has a VM. */
export function beatOf(vm: Vm | null, state: string, term: number): Beat {
  const { position, visits } = vm?.ring.place() ?? { position: POWER_ON, visits: 0n };
  return { position, state, term, visits };
}
