// SPDX-License-Identifier: Apache-2.0
/**
 * What a recording that runs for ever keeps. A generation is a full checkpoint and the
 * incremental ones that add to it; it goes as a whole, with the log before the next.
 */

/** One is enough to condemn what is older; null: no such limit. */
export interface RetainLimits {
  /** Newest checkpoints that are kept. */
  readonly count: number | null;
  /** Back to a position so long ago one can go. */
  readonly ageMs: number | null;
  /** Bytes of checkpoints and log together. */
  readonly bytes: number | null;
}

/** `record --retain` without a value: a flight recorder. */
export const RETAIN_DEFAULT = '24h,1G';
/** And without --checkpoint-every. */
export const RETAIN_EVERY_DEFAULT = '10s';

export interface Generation {
  /** When its full checkpoint was written. */
  readonly createdMs: number;
  readonly checkpoints: number;
  /** Bytes of its checkpoints, and of the log up to the next generation's full one. */
  readonly bytes: number;
}

/** A chain is at most a quarter of what is kept: what goes at once. */
const CHAINS_KEPT = 4;

/** How many of the oldest generations go. The newest one always stays. Size: also space.ts. */
export function condemned(
  generations: readonly Generation[],
  limits: RetainLimits,
  nowMs: number,
): number {
  let rest = generations;
  const sum = (of: (one: Generation) => number): number =>
    rest.reduce((total, one) => total + of(one), 0);
  while (rest.length > 1) {
    const [oldest, second] = rest;
    const left = sum(({ checkpoints }) => checkpoints) - (oldest?.checkpoints ?? 0);
    const tooMany = limits.count !== null && left >= limits.count;
    const tooOld = limits.ageMs !== null && nowMs - (second?.createdMs ?? nowMs) >= limits.ageMs;
    const tooLarge = limits.bytes !== null && sum(({ bytes }) => bytes) > limits.bytes;
    if (!tooMany && !tooOld && !tooLarge) break;
    rest = rest.slice(1);
  }
  return generations.length - rest.length;
}

/** Incremental checkpoints after a full one, so that what is kept is near its limits. */
export function chainMaxFor(limits: RetainLimits, everyMs: number, chainMax: number): number {
  const kept = [
    limits.count,
    limits.ageMs === null || everyMs === 0 ? null : limits.ageMs / everyMs,
  ].filter((count) => count !== null);
  return Math.max(0, Math.min(chainMax, ...kept.map((n) => Math.floor(n / CHAINS_KEPT) - 1)));
}
