// SPDX-License-Identifier: Apache-2.0
/** The protocols that a simulated world can play, and VM.toml's numbers there. */
import { PROTOCOL_NAMES, type ProtocolName, protocolByName } from '../../src/epochs/registry.ts';

export const SETTINGS = {
  heartbeatMs: 100,
  heartbeatMissed: 3,
  batchUsMax: 1000,
  epochInstructions: 500_000,
  lagMsMax: 500,
  intervalMs: 25,
  intervalMsMax: null,
  epochPagesMax: null,
  outputWaitUsMax: 1000,
  disk: 'blocks',
} as const;

/** A simulated guest has a log and no memory: what cuts epochs has nothing to ship of it. */
export const SIMULATED: readonly ProtocolName[] = PROTOCOL_NAMES.filter(
  (name) => protocolByName(name, SETTINGS).cut === null,
);
