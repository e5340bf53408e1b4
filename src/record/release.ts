// SPDX-License-Identifier: Apache-2.0
/**
 * Step 8 of the data path: what the gate lets go leaves here, and nowhere else.
 * Packets: QEMU sends those before `commit`. Console bytes: to the sinks.
 */
import type { Ring } from '../daemon/ports.ts';
import type { GateEffects } from '../epochs/output-gate.ts';

export function releaseTo(ring: Ring, console: (bytes: Buffer) => void): GateEffects {
  return {
    commit: (recordEnd) => ring.commit(recordEnd),
    console,
  };
}
