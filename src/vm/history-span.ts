// SPDX-License-Identifier: Apache-2.0
/** How much of its past a side of a pair keeps, to be replayed: [replication] history. */

const MINUTE_MS = 60_000;
const UNITS_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: MINUTE_MS,
  h: 60 * MINUTE_MS,
  d: 24 * 60 * MINUTE_MS,
};
/** Less is hardly more than the checkpoints that it takes. */
const SPAN_MS_MIN = MINUTE_MS;
const SPAN_MS_MAX = 7 * 24 * 60 * MINUTE_MS;

export const HISTORY_HINT = 'a time such as "10m" or "1h", from 1m to 7d, or "off"';

/** "10m", "90s", "1h", "2d", "off": ms, 0 for off; null: none of these. */
export function parseHistory(text: string): number | null {
  if (text === 'off') return 0;
  const match = /^([1-9]\d{0,6})([smhd])$/.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * (UNITS_MS[match[2] ?? ''] ?? 0);
  return ms >= SPAN_MS_MIN && ms <= SPAN_MS_MAX ? ms : null;
}
