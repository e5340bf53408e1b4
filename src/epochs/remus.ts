// SPDX-License-Identifier: Apache-2.0
/**
 * The `remus` protocol: the VM runs ahead, and every few milliseconds what it has changed
 * since the last cut is shipped. Its outputs leave when the backup has all of the epoch in
 * which they were made; the backup executes nothing until it takes over. Source: Cully et al.,
 * "Remus: High Availability via Asynchronous Virtual Machine Replication" (NSDI 2008).
 *
 * Theirs ends an epoch by time alone, so that a client waits for half an interval and more;
 * here one ends too when a packet has waited for `output_wait_us_max`.
 *
 * With `disk = "io-log"` one ends as well where Ohmura's would ("Rapid VM Synchronization with
 * I/O Emulation Logging-Replay", NTT 2011): at a write of which the backup has some pages
 * already, and gets the others with the epoch.
 */
import type { Protocol, ProtocolOptions } from './protocol.ts';

/** One is shipped and applied while the next one runs. */
const IN_FLIGHT_MAX = 2;
/** The log of an epoch is no bound: what bounds the guest is IN_FLIGHT_MAX. */
const LAG_MS_MAX = 60_000;

export function remus({ intervalMs, outputWaitUsMax, disk }: ProtocolOptions): Protocol {
  return {
    name: 'remus',
    seal: {
      batchUs: 1000,
      recordsMax: 1024,
      horizonBusyUs: 0,
      horizonIdleUs: 50_000,
      busyInstructions: 0,
      stopInstructions: 0,
      atCuts: true,
    },
    cut: {
      everyMs: intervalMs,
      outputWaitUs: outputWaitUsMax,
      inFlightMax: IN_FLIGHT_MAX,
      events: disk === 'io-log' ? ['IO_LOG'] : [],
      holdWrites: false,
      disk,
    },
    commit: 1,
    pace: { lagMsMax: LAG_MS_MAX },
    follower: 'image',
  };
}
