// SPDX-License-Identifier: Apache-2.0
/** What a heartbeat says of a replica. */
import { POWER_ON } from '../base/position.ts';
import type { Beat } from '../wire/session.ts';
import type { Vm } from './ports.ts';

/** What a side says of itself; all zero before it has a VM. */
export function beatOf(vm: Vm | null, state: string, term: number): Beat {
  const at = vm?.ring.snapshot();
  const position = at?.position ?? POWER_ON;
  return { position, state, term, visits: at?.visits ?? 0n };
}
