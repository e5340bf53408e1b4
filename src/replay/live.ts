// SPDX-License-Identifier: Apache-2.0
/**
 * A survivor that has gone live: its outputs leave by themselves, and all that is
 * left to do is to keep a log and the console.
 */
import { messageOf } from '../base/errors.ts';
import type { BatchLog, BatchReader, Clock } from '../daemon/ports.ts';
import type { SealPolicy } from '../epochs/policy.ts';
import { Shipper } from '../record/ship.ts';
import type { Welcome } from '../wire/messages.ts';
import type { Standby } from './standby.ts';

export interface LiveOptions {
  readonly clock: Clock;
  readonly reader: BatchReader;
  readonly sealPolicy: SealPolicy;
  /** The log of what a survivor does after going live: a log of its own, from 0. */
  readonly openLiveLog: (welcome: Welcome, term: number) => Promise<BatchLog>;
  readonly console: (bytes: Buffer) => void;
}

/** Where there can be no log: a survivor lives on without one. */
const noLog: BatchLog = {
  append: (_frame, done) => done(null),
  close: () => Promise.resolve(),
};

/** @param logFailed the log could not be opened, or ended with this error */
export async function startLive(
  o: LiveOptions,
  { vm, welcome }: Standby,
  term: number,
  logFailed: (reason: string) => void,
): Promise<{ shipper: Shipper; log: BatchLog }> {
  const log = await o.openLiveLog(welcome, term).catch((error: unknown) => {
    logFailed(messageOf(error));
    return noLog;
  });
  const shipper = new Shipper({
    ring: vm.ring,
    clock: o.clock,
    policy: o.sealPolicy,
    vmId: welcome.vmId,
    term,
    // Records of a QEMU count from its own start, so this log does not continue the other.
    sequence: 0n,
    prevChecksum: 0n,
    log,
    reader: o.reader,
    console: o.console,
    logFailed,
  });
  return { shipper, log };
}
