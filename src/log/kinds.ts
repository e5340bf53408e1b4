// SPDX-License-Identifier: Apache-2.0
/**
 * Kinds of record, by ordinal. The C header and the schema have the same table;
 * test/native/abi.test.ts compares all three. Ordinals are never reused.
 */
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

export type Kind = (typeof KIND)[keyof typeof KIND];
export type KindName = keyof typeof KIND;

/** What a CLOCK record sets: its channel. */
export const CLOCK = { RATE: 0, ORIGIN: 1, STEP: 2, RTC: 3 } as const;

/** Why a log ended: the channel of END. */
export const END_REASON = { POWEROFF: 1, STOP: 2 } as const;

/** Which digest: the channel of DIGEST. */
export const DIGEST_KIND = { FINAL: 0, PERIODIC: 1 } as const;

const NAMES = new Map<number, KindName>(
  (Object.entries(KIND) as [KindName, number][]).map(([name, kind]) => [kind, name]),
);
const WITH_PAYLOAD = new Set<number>([
  KIND.NET_IN,
  KIND.CHAR_IN,
  KIND.ENTROPY,
  KIND.CHAR_OUT,
  KIND.DIGEST,
  KIND.BLK_DATA,
]);

/** "NET_IN", or "kind 77" for an ordinal that this build does not know. */
export function kindName(kind: number): string {
  return NAMES.get(kind) ?? `kind ${kind}`;
}

export function kindIsKnown(kind: number): kind is Kind {
  return NAMES.has(kind);
}

/** Whether `len` bytes at `arg` of the payload stream belong to the record. */
export function kindHasPayload(kind: number): boolean {
  return WITH_PAYLOAD.has(kind);
}
