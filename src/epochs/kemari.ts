// SPDX-License-Identifier: Apache-2.0
/**
 * The `kemari` protocol: the VM is synchronized before what the outside could know of it, a
 * packet that it sends or a write to its disk, and stands still until the backup has that.
 * Between two of these it runs as if alone. Source: Tamura, Sato, Kihara, Moriai, "Kemari:
 * Virtual Machine Synchronization for Fault Tolerance" (2007; USENIX 2008 poster session).
 *
 * Theirs has a disk that both hosts share, so the write follows the synchronization. Ours are
 * two: the write is in the epoch, the backup's disk has it when it has the rest, and the
 * primary's gets it then. What is in flight is issued again by who takes over, as theirs.
 *
 * Theirs ends no epoch by time. Here the console is an output that waits, too, and a guest
 * that computes would have an epoch of all its memory at last.
 */
import type { Protocol, ProtocolOptions } from './protocol.ts';
import { remus } from './remus.ts';

/** What is printed is shown after so long, in a guest that does nothing else. */
const EVERY_MS = 100;

export function kemari(options: ProtocolOptions): Protocol {
  return {
    ...remus(options),
    name: 'kemari',
    cut: {
      everyMs: EVERY_MS,
      outputWaitUs: EVERY_MS * 1000,
      inFlightMax: 0,
      events: ['NET_OUT', 'DISK_WRITE'],
      holdWrites: true,
      disk: options.disk,
    },
  };
}
