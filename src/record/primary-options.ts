// SPDX-License-Identifier: Apache-2.0
import type { BatchLog, Clock, Report, Vm } from '../daemon/ports.ts';
import type { Protocol } from '../epochs/policy.ts';
import type { Arbiter, Claimant } from '../replay/fence.ts';
import type { VmFacts } from '../wire/hello.ts';

/** What a primary is given: who it is, how it behaves, and its ports to the world. */
export interface PrimaryOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly facts: VmFacts;
  /** 16 random bytes: this power-on. */
  readonly vmId: Buffer;
  readonly rtcBase: string;
  /** The VM as run, JSON, and its QEMU arguments: for the backup to compare. */
  readonly vmConfig: string;
  readonly qemuArgs: readonly string[];
  readonly heartbeatMs: number;
  readonly heartbeatMissed: number;
  readonly batchUsMax: number;
  readonly lagMsMax: number;
  readonly durability: 'memory' | 'disk';
  readonly protocol: Protocol;
  readonly protocolName: string;
  readonly launch: () => Promise<Vm>;
  readonly log: BatchLog;
  readonly console: (bytes: Buffer) => void;
}
