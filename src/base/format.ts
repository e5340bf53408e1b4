// SPDX-License-Identifier: Apache-2.0
/** Numbers for people. */

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

/** 1536 → "1.54 KB" (powers of 1000, three significant digits). */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${UNITS[unit] ?? 'B'}`;
}

/** 950 → "950 ms", 12300 → "12.3 s", 754000 → "12 min 34 s". */
export function formatDuration(ms: number): string {
  if (ms < 1) return `${Number((ms * 1000).toPrecision(3))} µs`;
  if (ms < 999.5) return `${Number(ms.toPrecision(3))} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toPrecision(3))} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** 1234567 → "1,234,567". */
export function formatCount(count: number | bigint): string {
  return count.toLocaleString('en-US');
}

/** 1234, 2 s → "4.94 kbit/s". */
export function formatBitRate(bytes: number, seconds: number): string {
  if (seconds <= 0) return '0 bit/s';
  let value = (bytes * 8) / seconds;
  let unit = 0;
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${units[unit] ?? 'bit/s'}`;
}

/** 64-bit value as 16 hex digits. */
export function hex64(value: bigint): string {
  return BigInt.asUintN(64, value).toString(16).padStart(16, '0');
}

/** JSON in which a bigint is a number when exact and a string when not. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => {
      if (typeof item !== 'bigint') return item;
      const number = Number(item);
      return Number.isSafeInteger(number) ? number : item.toString();
    },
    indent,
  );
}
