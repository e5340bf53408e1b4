// SPDX-License-Identifier: Apache-2.0
/**
 * Going back. The guest is run again from a checkpoint up to where the debugger is, and
 * QEMU lists the break- and watchpoints met; the last one before that place is where
 * running backwards stops. None: from the checkpoint before, and so on.
 */
import { advance, comparePoints, type Point } from '../base/position.ts';
import { comparePlaces, type Hit, type Place, placeAt, type Stop, startBefore } from './place.ts';

/** What a search needs of an inferior. */
export interface Runner {
  readonly place: Place;
  run(mode: 'list', to: Place): Promise<Stop>;
}

export interface SearchOptions<Inferior extends Runner> {
  readonly from: Place;
  /** Where the recording begins. */
  readonly begin: Point;
  /** An inferior at the nearest start at or before, with the break- and watchpoints set. */
  readonly fresh: (point: Point) => Promise<Inferior>;
  readonly done: (inferior: Inferior) => Promise<void>;
  readonly isCancelled: () => boolean;
}

/** The hits before `from` in the nearest run that has any, in order; empty: none has. */
export async function hitsBefore<Inferior extends Runner>(
  options: SearchOptions<Inferior>,
): Promise<readonly Hit[] | 'cancelled'> {
  const { from, begin, fresh, done, isCancelled } = options;
  let until = from;
  while (!isCancelled()) {
    // At a start itself nothing has been met yet: the one before has what led there.
    const before = until.phase > 0 ? until.point : advance(until.point, -1n);
    if (comparePoints(before, begin) < 0) return [];
    const inferior = await fresh(before);
    const start = inferior.place;
    try {
      if (isCancelled()) return 'cancelled';
      const stop = await inferior.run('list', until);
      if (stop.reason === 'pause') return 'cancelled';
      const hits = stop.hits.filter(
        ({ place }) =>
          comparePlaces(place, from) < 0 && comparePoints(startBefore(place), begin) >= 0,
      );
      if (hits.length > 0) return hits;
    } finally {
      await done(inferior);
    }
    if (comparePoints(start.point, begin) <= 0) return [];
    until = placeAt(start.point);
  }
  return 'cancelled';
}

/**
 * The last search, for the next one: with the same points, what was met before is met
 * again at the same places.
 */
export class HitMemory {
  #points = '';
  #until: Place | null = null;
  #hits: readonly Hit[] = [];

  remember(points: ReadonlySet<string>, until: Place, hits: readonly Hit[]): void {
    this.#points = keyOf(points);
    this.#until = until;
    this.#hits = hits;
  }

  /** The hits at the last place before this one that has any; empty: not known. */
  before(points: ReadonlySet<string>, place: Place): readonly Hit[] {
    const until = this.#until;
    if (until === null || keyOf(points) !== this.#points || comparePlaces(place, until) > 0) {
      return [];
    }
    const earlier = this.#hits.filter((hit) => comparePlaces(hit.place, place) < 0);
    const last = earlier.at(-1);
    if (last === undefined) return [];
    return earlier.filter((hit) => comparePlaces(hit.place, last.place) === 0);
  }
}

function keyOf(points: ReadonlySet<string>): string {
  return [...points].sort().join(' ');
}
