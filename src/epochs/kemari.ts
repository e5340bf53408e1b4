// SPDX-License-Identifier: Apache-2.0
/**
 * The `kemari` protocol: the VM is synchronized before what the outside could know of it, a
 * packet that it sends or a write to its disk, and stands still until the backup has that.
 * Between two of these it runs as if alone. Source: Tamura, Sato, Kihara, Moriai, "Kemari:
 * Virtual Machine Synchronization for Fault Tolerance" (2007; USENIX 2008 poster session).
 *
 * Theirs has a disk that both hosts share, so the write follows the synchronization. Ours are
 * two: the write is in the epoch, and the backup's disk has it when it has the rest. The
 * primary's gets it meanwhile, and the guest hears of it when it goes on, so when the backup has
 * it: until then it is a write in flight, of which a disk may have anything. A dead primary's
 * disk is nobody's, whatever it has. What is in flight is issued again by who takes over, as theirs.
 *
 * Theirs ends no epoch by time. Here the console is an output that waits, too, and a guest
 * that computes would have an epoch of all its memory at last.
 */
import type { Protocol, ProtocolOptions } from './protocol.ts';
import { remus } from './remus.ts';

/** What is printed is shown after so long, in a guest that does nothing else. */
const EVERY_MS = 100;
/**
 * Packets of a guest that sends one after the other gather for this time: a cut for each would be most
 * of what it does. The first one after it has slept is cut at once, and what it sent before it sleeps.
 */
const GATHER_US = 300;

export function kemari(options: ProtocolOptions): Protocol {
  return {
    ...remus(options),
    name: 'kemari',
    cut: {
      everyMs: EVERY_MS,
      stretch: null,
      pagesMax: 0,
      outputWaitUs: GATHER_US,
      inFlightMax: 0,
      events: ['NET_LONE', 'DISK_WRITE'],
      disk: options.disk,
    },
  };
}
