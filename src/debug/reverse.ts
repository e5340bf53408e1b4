// SPDX-License-Identifier: Apache-2.0
/**
 * Going back. The guest is run again from a checkpoint up to where the debugger is, and
 * QEMU lists the break- and watchpoints met; the last one before that place is where
 * running backwards stops. None: from the checkpoint before, and so on.
 */
import { comparePlaces, type Hit, type Place, placeAt, type Stop } from './place.ts';

/** What a search needs of a machine. */
export interface Runner {
  readonly place: Place;
  run(mode: 'list', to: Place): Promise<Stop>;
}

export interface SearchOptions {
  readonly from: Place;
  /** Where the recording begins. */
  readonly begin: bigint;
  /** A machine at the nearest start at or before, with the break- and watchpoints set. */
  readonly fresh: (icount: bigint) => Promise<Runner>;
  readonly done: (machine: Runner) => Promise<void>;
  readonly isCancelled: () => boolean;
}

/** The last hit before `from`; null: there is none; or the search was cancelled. */
export async function lastHitBefore(options: SearchOptions): Promise<Hit | null | 'cancelled'> {
  const { from, begin, fresh, done, isCancelled } = options;
  let until = from;
  while (!isCancelled()) {
    // At a start itself nothing has been met yet: the one before has what led there.
    const before = until.phase > 0 ? until.icount : until.icount - 1n;
    if (before < begin) return null;
    const machine = await fresh(before);
    const start = machine.place;
    try {
      const stop = await machine.run('list', until);
      if (stop.reason === 'pause') return 'cancelled';
      const hit = stop.hits.filter(({ place }) => comparePlaces(place, from) < 0).at(-1);
      if (hit !== undefined) return hit;
    } finally {
      await done(machine);
    }
    if (start.icount <= begin) return null;
    until = placeAt(start.icount);
  }
  return 'cancelled';
}
