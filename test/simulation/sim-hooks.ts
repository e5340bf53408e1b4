// SPDX-License-Identifier: Apache-2.0
/** What a simulated VM tells whoever looks for violations. */

/** Where a crash can be asked for: the eight steps of the data path. */
export interface Hooks {
  produced(): void;
  sealed(): void;
  acks(): void;
  filled(): void;
  executed(): void;
  beforeCommit(): void;
  afterCommit(): void;
  /** A packet really leaves. */
  left(ordinal: bigint, output: bigint): void;
  /** Console bytes of a live VM are shown: those of this record. */
  shown(ordinal: bigint): void;
  wentLive(): void;
}
