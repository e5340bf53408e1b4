// SPDX-License-Identifier: Apache-2.0
/** Axes: from values to places, with ticks that people would choose. */

export interface Scale {
  readonly kind: 'linear' | 'log';
  at(value: number): number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** From 0 (or the lowest value below it) to a round number that has all values below it. */
export function linear(values: readonly number[], from: number, to: number): Scale {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(0, ...finite);
  const step = stepOf(Math.max(...finite, low + 1e-9) - low);
  const first = Math.floor(low / step) * step;
  const last = Math.max(
    Math.ceil((Math.max(0, ...finite) - 1e-9 * step) / step) * step,
    first + step,
  );
  const count = Math.round((last - first) / step);
  return {
    kind: 'linear',
    at: (value) => from + ((value - first) / (last - first)) * (to - from),
    ticks: Array.from({ length: count + 1 }, (_, index) => {
      const value = first + index * step;
      return { value, label: tickLabel(value) };
    }),
  };
}

/** Whole powers of ten where there are several, else some between. Values must be above 0. */
export function log(values: readonly number[], from: number, to: number): Scale {
  const positive = values.filter((value) => Number.isFinite(value) && value > 0);
  const low = Math.min(...positive, Number.MAX_VALUE);
  const high = Math.max(...positive, Number.MIN_VALUE);
  if (positive.length === 0) return log([1, 10], from, to);
  const decades = Math.log10(high / low);
  const factors = decades > 2.5 ? [1] : decades > 0.6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const powers = range(Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1);
  const all = powers.flatMap((power) => factors.map((factor) => factor * 10 ** power));
  const first = all.filter((value) => value <= low * 1.0001).at(-1) ?? low;
  const last = all.find((value) => value >= high * 0.9999 && value > first) ?? high;
  const span = Math.log(last / first);
  return {
    kind: 'log',
    at: (value) => from + (Math.log(Math.max(value, first) / first) / span) * (to - from),
    ticks: all
      .filter((value) => value >= first * 0.9999 && value <= last * 1.0001)
      .map((value) => ({ value, label: tickLabel(value) })),
  };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function stepOf(span: number): number {
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
}

export function tickLabel(value: number): string {
  const rounded = Number(value.toPrecision(6));
  if (rounded === 0) return '0';
  const size = Math.abs(rounded);
  if (size >= 1e9) return `${rounded / 1e9} G`;
  if (size >= 1e6) return `${rounded / 1e6} M`;
  if (size >= 1e4) return `${rounded / 1e3} k`;
  return String(rounded).replace('-', '−');
}

/** Three digits, as people write them: 1,873, 20.1, 0.0082. */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 999.5) return Math.round(value).toLocaleString('en-US').replace('-', '−');
  return String(Number(value.toPrecision(3))).replace('-', '−');
}
