// SPDX-License-Identifier: Apache-2.0

import type { Link, LinkEvents } from '../wire/connection.ts';
import type { VmFacts } from '../wire/hello.ts';
import type { Welcome } from '../wire/messages.ts';
import type { LiveOptions } from './live.ts';
import type { StateSink } from './ports.ts';
import type { StandbyOptions } from './standby.ts';

/** What a backup is given: who it is, how it behaves, and its ports to the world. */
export interface BackupOptions extends StandbyOptions, LiveOptions {
  /** Of now: a join that ended early has changed the disks. */
  readonly facts: () => Promise<VmFacts>;
  readonly connect: (events: LinkEvents) => Link;
  readonly where: string;
  /** How long to look for a primary; null: for ever. */
  readonly joinDeadlineMs: number | null;
  /** For one join to a VM that runs. */
  readonly sink: (welcome: Welcome) => StateSink;
}
