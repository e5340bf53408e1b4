// SPDX-License-Identifier: Apache-2.0
/** Events of a live VM that can end an epoch; include/exitlog_abi.h says what each is. */
import type { NativeRing } from './native.ts';

/** In the order of their ordinals, as EXITLOG_EVENTS has them (test/native/abi.test.ts). */
export const EPOCH_EVENTS = [
  'NET_OUT',
  'CHAR_OUT',
  'DISK_WRITE',
  'NET_IN',
  'CHAR_IN',
  'DISK_DONE',
  'ENTROPY',
  'TIMER',
  'IO_LOG',
] as const;
export type EpochEvent = (typeof EPOCH_EVENTS)[number];

export interface EventCount {
  /** How many have happened. */
  readonly happened: bigint;
  /** Cuts made for one of it: the first since the cut before. */
  readonly cuts: bigint;
}

export type EventCounts = Readonly<Record<EpochEvent, EventCount>>;

/** The set of these, as the ABI has it. */
export function eventMask(events: readonly EpochEvent[]): number {
  return events.reduce((mask, name) => mask | (1 << EPOCH_EVENTS.indexOf(name)), 0);
}

export function readEvents(ring: NativeRing): EventCounts {
  const words = new BigUint64Array(2 * EPOCH_EVENTS.length);
  ring.events(words);
  const counts = EPOCH_EVENTS.map((name, index) => [
    name,
    { happened: words[index] ?? 0n, cuts: words[EPOCH_EVENTS.length + index] ?? 0n },
  ]);
  return Object.fromEntries(counts) as EventCounts;
}
