// SPDX-License-Identifier: Apache-2.0
/** Protocols by name, as VM.toml's `replication.protocol` has it. */
import { UnderstudyError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { lockstep } from './lockstep.ts';
import { lockstepEpoch } from './lockstep-epoch.ts';
import type { Protocol, ProtocolOptions } from './protocol.ts';

const PROTOCOLS = {
  lockstep,
  'lockstep-epoch': lockstepEpoch,
} as const satisfies Readonly<Record<string, (options: ProtocolOptions) => Protocol>>;

export type ProtocolName = keyof typeof PROTOCOLS;
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[];
export const DEFAULT_PROTOCOL: ProtocolName = 'lockstep';

/** @throws UnderstudyError config-value for a name that no protocol has */
export function protocolByName(name: string, options: ProtocolOptions): Protocol {
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
