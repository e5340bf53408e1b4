// SPDX-License-Identifier: Apache-2.0
/**
 * The `lockstep` protocol: the exit log is shipped at once when a packet waits for it, else
 * when it is large or `batch_us_max` old. Source: Bressoud & Schneider's revised protocol;
 * VMware FT's output rule.
 *
 * Console bytes wait like inputs: nobody retransmits them meanwhile, and a guest that
 * prints its boot would have a batch for every few letters.
 *
 * A batch that only moves the horizon carries no record; it lets the backup run
 * on. A busy guest moves it all the time, so such batches are spaced; an idle
 * guest retires next to nothing, so they are spaced widely and the log of an
 * idle guest stays under 30 kbit/s.
 */
import type { Protocol, ProtocolOptions } from './protocol.ts';

export function lockstep({ batchUsMax, lagMsMax }: ProtocolOptions): Protocol {
  return {
    name: 'lockstep',
    seal: {
      batchUs: batchUsMax,
      recordsMax: 1024,
      horizonBusyUs: 2000,
      // 20 batches of 192 bytes a second would be 31 kbit/s. A backup that is told of an idle
      // guest's progress later than lag_ms_max would be late all the time, and the guest held.
      horizonIdleUs: Math.min(65_000, 650 * lagMsMax),
      busyInstructions: 200_000,
      stopInstructions: 0,
      atCuts: false,
    },
    cut: null,
    commit: 1,
    pace: { lagMsMax },
    follower: 'replaying',
  };
}

/** What a recorder goes by. Nobody waits for a horizon: batches have records. */
export const RECORDER: Pick<Protocol, 'seal' | 'commit'> = {
  seal: {
    batchUs: 5000,
    recordsMax: 1024,
    horizonBusyUs: 0,
    horizonIdleUs: 50_000,
    busyInstructions: 0,
    stopInstructions: 0,
    atCuts: false,
  },
  commit: 0,
};
