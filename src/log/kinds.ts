// SPDX-License-Identifier: Apache-2.0
/**
 * Kinds of record, by ordinal: as the C header has them, which the addon tells. The schema
 * documents them. Ordinals are never reused.
 */
import { native } from '../../native/kvm-exit-log/native.ts';

/** Those that are asked for by name here; test/native/abi.test.ts compares the ordinals. */
export const KIND = {
  NET_IN: 1,
  CHAR_IN: 2,
  BLK_DONE: 3,
  ENTROPY: 4,
  POWERDOWN: 5,
  RESET: 6,
  NET_OUT: 7,
  CHAR_OUT: 8,
  DIGEST: 9,
  END: 10,
  CLOCK: 11,
  CHECKPOINT: 12,
  BLK_DATA: 13,
} as const;

/** What a CLOCK record sets: its channel. */
export const CLOCK = { RATE: 0, ORIGIN: 1, STEP: 2, RTC: 3 } as const;

/** Why a log ended: the channel of END. */
export const END_REASON = { POWEROFF: 1, STOP: 2 } as const;

/** Which digest: the channel of DIGEST. */
export const DIGEST_KIND = { FINAL: 0, PERIODIC: 1 } as const;

/** What a CHECKPOINT is of: its channel. */
export const CHECKPOINT_OF = { REPLAY: 0, EPOCH: 1 } as const;

/** Ordinals by name. */
export const KINDS: ReadonlyMap<string, number> = new Map(
  native.kinds.map(({ name, kind }) => [name, kind]),
);
const NAMES = new Map(native.kinds.map(({ name, kind }) => [kind, name]));
const WITH_PAYLOAD = new Set(
  native.kinds.filter(({ hasPayload }) => hasPayload).map(({ kind }) => kind),
);

/** "NET_IN", or "kind 77" for an ordinal that this build does not know. */
export function kindName(kind: number): string {
  return NAMES.get(kind) ?? `kind ${kind}`;
}

/** Whether `len` bytes at `arg` of the payload stream belong to the record. */
export function kindHasPayload(kind: number): boolean {
  return WITH_PAYLOAD.has(kind);
}
