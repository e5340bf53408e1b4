// SPDX-License-Identifier: Apache-2.0
/** How often a running VM logs a digest of itself, in instructions. */

/** Often enough that a divergence is found within a second, too rare to be felt. */
export const DIGEST_EVERY_DEFAULT = 100_000_000;
/** More often would only measure the digests themselves. */
const DIGEST_EVERY_MIN = 100_000;

/** A digest of each cut, of a protocol by checkpoint. */
export const DIGEST_AT_CUTS = 1;

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 };

export const DIGEST_EVERY_HINT =
  'a number of instructions such as "100M" or "1G", at least 100k, or "off"';

/** "100M", "500k", "2G", "250000", "off": instructions, 0 for off; null: none of these. */
export function parseDigestEvery(text: string): number | null {
  if (text === 'off') return 0;
  const match = /^([1-9]\d{0,14})([kMG]?)$/.exec(text);
  if (match === null) return null;
  const instructions = Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1);
  return instructions >= DIGEST_EVERY_MIN && instructions <= 1e15 ? instructions : null;
}
