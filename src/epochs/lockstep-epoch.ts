// SPDX-License-Identifier: Apache-2.0
/**
 * The `lockstep-epoch` protocol: the guest runs for an epoch of N instructions, then its log
 * is sealed, and it waits until the backup holds it. What Bressoud & Schneider began with
 * ("Hypervisor-based Fault-tolerance", TOCS 14(1), 1996), to be compared with.
 *
 * Two things differ from theirs. Inputs are delivered where they come, not at the end of
 * the epoch, so outputs wait for an ack as in `lockstep`; and as a guest that idles has no
 * instructions to count, what waits is sealed after batch_us_max at the latest.
 */
import { lockstep } from './lockstep.ts';
import type { Protocol, ProtocolOptions } from './protocol.ts';

export function lockstepEpoch(options: ProtocolOptions): Protocol {
  const like = lockstep(options);
  const seal = { ...like.seal, stopInstructions: options.epochInstructions };
  return { ...like, name: 'lockstep-epoch', seal };
}
