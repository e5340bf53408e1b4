// SPDX-License-Identifier: Apache-2.0
/**
 * A survivor that has gone live: its outputs leave by themselves, and all that is
 * left to do is to keep a log and the console.
 */
import { messageOf } from '../base/errors.ts';
import type { BatchLog, Shipping } from '../daemon/ports.ts';
import type { SealPolicy } from '../epochs/policy.ts';
import type { Welcome } from '../wire/messages.ts';
import type { Standby } from './standby.ts';

export interface LiveOptions {
  readonly sealPolicy: SealPolicy;
  /**
   * The log of what a survivor does after going live: a log of its own, from 0.
   * @throws UnderstudyError disk-full, log-write
   */
  readonly openLiveLog: (welcome: Welcome, term: number) => BatchLog;
  readonly console: (bytes: Buffer) => void;
}

/** @param logFailed the log could not be opened, or ended with this error */
export function startLive(
  o: LiveOptions,
  { vm, welcome }: Standby,
  term: number,
  logFailed: (reason: string) => void,
): { shipping: Shipping; log: BatchLog | null } {
  let log: BatchLog | null = null;
  try {
    log = o.openLiveLog(welcome, term);
  } catch (error) {
    // A survivor lives on without one.
    logFailed(messageOf(error));
  }
  const shipping = vm.ship({
    policy: o.sealPolicy,
    vmId: welcome.vmId,
    term,
    durability: 'memory',
    log,
    console: o.console,
    logFailed,
    progress: () => {},
  });
  shipping.detach(term);
  return { shipping, log };
}
