// SPDX-License-Identifier: Apache-2.0
/**
 * The `quorum` protocol: `lockstep`'s log and its numbers, but agreed on by 2f+1 replicas
 * (docs/quorum.md). To the gate all who agree are one follower. Source: FALCON; Raft.
 */
import { lockstep } from './lockstep.ts';
import type { Protocol, ProtocolOptions } from './protocol.ts';

export function quorum(options: ProtocolOptions): Protocol {
  return { ...lockstep(options), name: 'quorum' };
}
