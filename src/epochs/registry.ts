// SPDX-License-Identifier: Apache-2.0
/** Finds a protocol by its name. */
import { UnderstudyError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { Protocol, ProtocolOptions } from './protocol.ts';
import * as protocols from './protocols.ts';
import { quorum } from './quorum.ts';

/** Those of pairs. */
export type ProtocolName = keyof typeof protocols;
/** The replicas' (docs/quorum.md). */
export const QUORUM = 'quorum';
export type AnyProtocolName = ProtocolName | typeof QUORUM;

const PROTOCOLS: Readonly<Record<ProtocolName, (options: ProtocolOptions) => Protocol>> = protocols;
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[];
export const DEFAULT_PROTOCOL: ProtocolName = 'lockstep';

/** Numbers for what does not depend on them. */
const ANY: ProtocolOptions = {
  batchUsMax: 0,
  lagMsMax: 0,
  epochInstructions: 1,
  intervalMs: 1,
  intervalMsMax: null,
  epochPagesMax: null,
  outputWaitUsMax: 0,
  disk: 'blocks',
};

/** What can take over, whatever the protocol's numbers are. */
export const followerOf = (name: ProtocolName): Protocol['follower'] =>
  PROTOCOLS[name](ANY).follower;

/** @throws UnderstudyError config-value for a name that no protocol has */
export function protocolByName(name: string, options: ProtocolOptions): Protocol {
  if (name === QUORUM) return quorum(options);
  const known = PROTOCOL_NAMES.find((one) => one === name);
  if (known === undefined) {
    throw new UnderstudyError(
      'config-value',
      `replication.protocol = "${name}" is not a protocol of this version; ` +
        `did you mean "${nearest(name, PROTOCOL_NAMES)}"?`,
    );
  }
  return PROTOCOLS[known](options);
}
