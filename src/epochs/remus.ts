// SPDX-License-Identifier: Apache-2.0
/**
 * The `remus` protocol: the VM runs ahead, and every few milliseconds what it has changed
 * since the last cut is shipped. Its outputs leave when the backup has all of the epoch in
 * which they were made; the backup executes nothing until it takes over. Source: Cully et al.,
 * "Remus: High Availability via Asynchronous Virtual Machine Replication" (NSDI 2008).
 *
 * Theirs ends an epoch by time alone, so that a client waits for half an interval and more;
 * here one ends too when a packet has waited for `output_wait_us_max`, or the guest has
 * written `epoch_pages_max` pages. The time is a wish: it is stretched while the guest would
 * stand still too much, or the link is too slow (cut-pace.ts).
 *
 * With `disk = "io-log"` one ends as well where Ohmura's would ("Rapid VM Synchronization with
 * I/O Emulation Logging-Replay", NTT 2011): at a write of which the backup has some pages
 * already, and gets the others with the epoch.
 */
import { INTERVAL_MS_MAX, type Protocol, type ProtocolOptions } from './protocol.ts';

/** One is shipped and applied while the next one runs. */
const IN_FLIGHT_MAX = 2;
/** The log of an epoch is no bound: what bounds the guest is IN_FLIGHT_MAX. */
const LAG_MS_MAX = 60_000;

/** An interval is stretched so far, unless VM.toml says how far. */
const STRETCH_MAX = 10;
const PAUSE_SHARE_MAX = 0.05;
/** The link has something to spare for an epoch that is larger than the last ones. */
const TRANSFER_SHARE_MAX = 0.8;
/** 32 MiB: what the backup keeps of an epoch, and what is on its way to it, is bounded by that. */
const PAGES_MAX = 8192;

export function remus(options: ProtocolOptions): Protocol {
  const { intervalMs, outputWaitUsMax, disk } = options;
  const longestMs = Math.min(STRETCH_MAX * intervalMs, INTERVAL_MS_MAX);
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
      stretch: {
        everyMsMax: options.intervalMsMax ?? longestMs,
        pauseShareMax: PAUSE_SHARE_MAX,
        transferShareMax: TRANSFER_SHARE_MAX,
      },
      pagesMax: options.epochPagesMax ?? PAGES_MAX,
      outputWaitUs: outputWaitUsMax,
      inFlightMax: IN_FLIGHT_MAX,
      events: disk === 'io-log' ? ['PAGES', 'IO_LOG'] : ['PAGES'],
      disk,
    },
    commit: 1,
    pace: { lagMsMax: LAG_MS_MAX },
    follower: 'image',
  };
}
