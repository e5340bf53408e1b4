// SPDX-License-Identifier: Apache-2.0

import type { Arbiter, Claimant } from '../arbiter/arbiter.ts';
import type { Clock } from '../base/clock.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Terms, VmFacts } from '../wire/hello.ts';
import type { BatchLog, Report, Vm } from './ports.ts';

/** What a primary is given: who it is, how it behaves, and its ports to the world. */
export interface PrimaryOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly facts: VmFacts;
  /** Among them 16 random bytes, the VM id: this power-on. */
  readonly terms: Omit<Terms, 'term'>;
  readonly protocol: Protocol;
  readonly launch: () => Promise<Vm>;
  /** So long a backup may take to start its VM. */
  readonly readyTimeoutMs?: number;
  readonly log: BatchLog;
  readonly console: (bytes: Buffer) => void;
}
