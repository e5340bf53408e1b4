// SPDX-License-Identifier: Apache-2.0
/** Events of a live VM that can end an epoch, as the ring has them. */
import { CUT_EVENTS, type CutEvent } from '../../src/epochs/events.ts';
import type { NativeRing } from './native.ts';

export interface EventCount {
  /** How many have happened. */
  readonly happened: bigint;
  /** Cuts made for one of it: the first since the cut before. */
  readonly cuts: bigint;
}

export type EventCounts = Readonly<Record<CutEvent, EventCount>>;

/** The set of these, as the ABI has it. */
export function eventMask(events: readonly CutEvent[]): number {
  return events.reduce((mask, name) => mask | (1 << CUT_EVENTS.indexOf(name)), 0);
}

export function readEvents(ring: NativeRing): EventCounts {
  const words = new BigUint64Array(2 * CUT_EVENTS.length);
  ring.events(words);
  const counts = CUT_EVENTS.map((name, index) => [
    name,
    { happened: words[index] ?? 0n, cuts: words[CUT_EVENTS.length + index] ?? 0n },
  ]);
  return Object.fromEntries(counts) as EventCounts;
}
