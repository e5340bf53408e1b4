// SPDX-License-Identifier: Apache-2.0
/**
 * Protocols by name. A protocol is a policy: when to seal, and how far ahead of
 * its backup a primary may run. The mechanisms (exit log, courier, wire) know none.
 */
import type { SealNumbers } from '../../native/kvm-exit-log/courier.ts';
import { UnderstudyError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { type LagBound, LagPolicy } from './lag.ts';
import { lockstepSealPolicy } from './lockstep.ts';
import { lockstepEpochSealPolicy } from './lockstep-epoch.ts';

/** When to seal; courier.ts explains each. */
export type { SealNumbers };

export interface SealPolicy {
  readonly name: string;
  readonly numbers: SealNumbers;
}

export interface ProtocolOptions {
  readonly batchUsMax: number;
  readonly lagMsMax: number;
  /** Of protocols with epochs. */
  readonly epochInstructions: number;
}

export interface Protocol {
  readonly name: string;
  readonly seal: SealPolicy;
  readonly lag: LagBound;
}

const PROTOCOLS = {
  lockstep: (options) => ({
    name: 'lockstep',
    seal: lockstepSealPolicy(options),
    lag: new LagPolicy(options),
  }),
  'lockstep-epoch': (options) => ({
    name: 'lockstep-epoch',
    seal: lockstepEpochSealPolicy(options),
    lag: new LagPolicy(options),
  }),
} as const satisfies Readonly<Record<string, (options: ProtocolOptions) => Protocol>>;

export type ProtocolName = keyof typeof PROTOCOLS;
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[];

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
