// SPDX-License-Identifier: Apache-2.0
/** Ticks and numbers for people. No DOM here. */
import type { Axis } from '../format.ts';
import { niceAtLeast } from './bins.ts';

export const AXIS_NAMES: Readonly<Record<Axis, string>> = {
  vtimeNs: 'guest time',
  hostNs: 'host time',
  icount: 'instructions',
};

/** Multiples of a nice step in [low, high], about `wanted` of them; two at least. */
export function ticks(low: number, high: number, wanted: number): number[] {
  if (!(high > low)) return [low];
  const step = niceAtLeast((high - low) / wanted);
  const first = Math.ceil(low / step);
  const found: number[] = [];
  // Bounded: beyond 2^53 steps, adding one to a number need not change it.
  for (let index = 0; index <= 4 * wanted; index += 1) {
    const tick = (first + index) * step;
    if (tick > high + step * 1e-9) break;
    found.push(tick);
  }
  // A step of 1, 2 or 5 may be two and a half times as long as wanted.
  return found.length < 2 && wanted < 10 ? ticks(low, high, 2 * wanted) : found;
}

/** 1234567 → "1,234,567"; with a fraction below 100. */
export function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 });
}

/** 1536 → "1.54 k", three significant digits, powers of 1000. */
export function short(value: number, unit = ''): string {
  const size = Math.abs(value);
  const scales = [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const;
  const [scale, letter] = scales.find(([least]) => size >= least * 0.9995) ?? [1, ''];
  const suffix = letter + unit;
  const number = String(Number((value / scale).toPrecision(3)));
  return suffix === '' ? number : `${number} ${suffix}`;
}

/** 2500000 → "2.5 ms". */
export function duration(ns: number): string {
  const size = Math.abs(ns);
  const scales = [
    [1e9, 's'],
    [1e6, 'ms'],
    [1e3, 'µs'],
  ] as const;
  const [scale, unit] = scales.find(([least]) => size >= least) ?? [1, 'ns'];
  return `${Number((ns / scale).toPrecision(4))} ${unit}`;
}

/** A width on an axis: "5 ms", "2 M instructions". */
export function span(axis: Axis, width: number): string {
  return axis === 'icount' ? `${short(width)} instructions` : duration(width);
}

/** A value on an axis, with as many digits as steps of `step` need. */
export function position(axis: Axis, value: number, step = 1): string {
  if (axis === 'icount') return Math.round(value).toLocaleString('en-US');
  const decimals = Math.min(9, Math.max(0, -Math.floor(Math.log10(step / 1e9) + 1e-9)));
  return `${(value / 1e9).toFixed(decimals)} s`;
}

/** The label of a tick: as short as the step allows. */
export function tickLabel(axis: Axis, value: number, step: number): string {
  if (axis !== 'icount') return position(axis, value, step).replace(/ s$/, '');
  const [scale, letter] =
    step >= 1e8 ? [1e9, ' G'] : step >= 1e5 ? [1e6, ' M'] : step >= 1e3 ? [1e3, ' k'] : [1, ''];
  const decimals = Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
  return `${(value / scale).toLocaleString('en-US', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  })}${letter}`;
}

/** Console bytes as text: lines as they are, without colours and cursor moves (ECMA-48, CSI). */
export function consoleText(bytes: Uint8Array): string {
  const text = new TextDecoder('utf-8')
    .decode(bytes)
    .replaceAll('\r\n', '\n')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
    .replace(/\u001b\[[0-?]*[ -/]*[@-~]/g, '');
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    '·',
  );
}
