// SPDX-License-Identifier: Apache-2.0
/**
 * What FSIN, FCOS and FPTAN have to answer, from pi and Taylor's series in whole numbers
 * of 600 bits, rounded once: bits and flags, for every operand there is.
 */

/** As in memory: sign and exponent, significand. */
export interface Extended {
  readonly signExponent: number;
  readonly significand: bigint;
}

export interface Answer extends Extended {
  /** Flags of the status word: C2 and the exceptions. */
  readonly flags: number;
}

export type Operation = 'sin' | 'cos' | 'tan';
/** RC of the control word: nearest, down, up, towards zero. */
export type Rounding = 0 | 1 | 2 | 3;

const INVALID = 1;
const DENORMAL = 2;
const UNDERFLOW = 0x10;
const INEXACT = 0x20;
const C2 = 0x400;

const BIAS = 16383;
const EXPONENT_LEAST = 1 - BIAS;
const BITS = 600n;
const ONE = 1n << BITS;
const HALF_PI = machin() / 2n;
/** Where x^3 is too little to matter for the last of 64 bits, and rounds all the same. */
const TINY_EXPONENT = -150;

/** Its value is mantissa * 2^exponent, less than one unit off towards nothing. */
interface Value {
  readonly negative: boolean;
  readonly mantissa: bigint;
  readonly exponent: number;
}

/** pi = 16 atan(1/5) - 4 atan(1/239), of 2^BITS. */
function machin(): bigint {
  const atan = (inverse: bigint): bigint => {
    let power = (ONE << 32n) / inverse;
    let sum = 0n;
    for (let n = 1n; power !== 0n; n += 2n) {
      sum += n % 4n === 1n ? power / n : -(power / n);
      power /= inverse * inverse;
    }
    return sum;
  };
  return (16n * atan(5n) - 4n * atan(239n)) >> 32n;
}

function series(x: bigint, first: bigint, from: bigint): bigint {
  const square = (x * x) >> BITS;
  let term = first;
  let sum = 0n;
  for (let n = from; term !== 0n; n += 2n) {
    sum += term;
    term = -((term * square) >> BITS) / (n * (n + 1n));
  }
  return sum;
}

const sine = (x: bigint): bigint => series(x, x, 2n);
const cosine = (x: bigint): bigint => series(x, ONE, 1n);

function bitLength(value: bigint): number {
  return value.toString(2).length;
}

function magnitude(value: bigint): Value {
  const negative = value < 0n;
  return { negative, mantissa: negative ? -value : value, exponent: -Number(BITS) };
}

function round(
  { negative, mantissa, exponent }: Value,
  rounding: Rounding,
  leastExponent: number,
): { significand: bigint; exponent: number } {
  const wanted = Math.max(exponent + bitLength(mantissa) - 64, leastExponent);
  const drop = BigInt(wanted - exponent);
  const kept = mantissa >> drop;
  const half = 1n << (drop - 1n);
  const rest = mantissa & ((1n << drop) - 1n);
  // Never exact: what was cut off before is more than nothing.
  const away =
    rounding === 0 ? rest >= half : rounding === 1 ? negative : rounding === 2 ? !negative : false;
  const significand = kept + (away ? 1n : 0n);
  return significand === 1n << 64n
    ? { significand: significand >> 1n, exponent: wanted + 1 }
    : { significand, exponent: wanted };
}

/** The value as the FPU stores it. */
function store(value: Value, rounding: Rounding): Answer {
  const { significand, exponent } = round(value, rounding, EXPONENT_LEAST - 63);
  const unbounded = round(value, rounding, -Number.MAX_SAFE_INTEGER);
  const tiny = unbounded.exponent + 63 < EXPONENT_LEAST;
  const biased = significand >> 63n === 0n ? 0 : exponent + 63 + BIAS;
  return {
    signExponent: biased | (value.negative ? 0x8000 : 0),
    significand,
    flags: INEXACT | (tiny ? UNDERFLOW : 0),
  };
}

/** x is so small that only the direction counts in which the result leaves x, or 1. */
function tiny(operation: Operation, negative: boolean, mantissa: bigint, exponent: number): Value {
  const [shifted, shift] = [mantissa << 200n, exponent - 200];
  if (operation === 'cos') return { negative: false, mantissa: ONE - 1n, exponent: -Number(BITS) };
  return { negative, mantissa: operation === 'sin' ? shifted - 1n : shifted, exponent: shift };
}

function compute(operation: Operation, x: bigint): Value {
  const quadrant = (2n * x + HALF_PI) / (2n * HALF_PI);
  const rest = x - quadrant * HALF_PI;
  const [s, c] = [sine(rest), cosine(rest)];
  const turn = Number(quadrant % 4n);
  const sin = [s, c, -s, -c][turn] ?? 0n;
  const cos = [c, -s, -c, s][turn] ?? 0n;
  return magnitude(operation === 'sin' ? sin : operation === 'cos' ? cos : (sin << BITS) / cos);
}

const DEFAULT_NAN = { signExponent: 0xffff, significand: 3n << 62n };

/** @returns null for what has an ordinary result */
function special(operation: Operation, x: Extended): Answer | null {
  const { signExponent, significand } = x;
  const biased = signExponent & 0x7fff;
  const isUnsupported = biased !== 0 && significand >> 63n === 0n;
  const isInfinite = biased === 0x7fff && significand === 1n << 63n;
  if (isUnsupported || isInfinite) return { ...DEFAULT_NAN, flags: INVALID };
  if (biased === 0x7fff) {
    const quiet = 1n << 62n;
    const flags = significand & quiet ? 0 : INVALID;
    return { signExponent, significand: significand | quiet, flags };
  }
  if (significand === 0n) {
    const one = { signExponent: BIAS, significand: 1n << 63n };
    return { ...(operation === 'cos' ? one : x), flags: 0 };
  }
  return biased >= BIAS + 63 ? { ...x, flags: C2 } : null;
}

export function reference(operation: Operation, x: Extended, rounding: Rounding): Answer {
  const answer = special(operation, x);
  if (answer !== null) return answer;
  const biased = x.signExponent & 0x7fff;
  const exponent = Math.max(biased, 1) - BIAS - 63;
  const negative = x.signExponent >> 15 === 1;
  let value: Value;
  if (exponent + bitLength(x.significand) < TINY_EXPONENT) {
    value = tiny(operation, negative, x.significand, exponent);
  } else {
    const shift = BigInt(exponent) + BITS;
    const absolute = compute(operation, x.significand << shift);
    const odd = operation !== 'cos' && negative;
    value = { ...absolute, negative: absolute.negative !== odd };
  }
  const stored = store(value, rounding);
  return { ...stored, flags: stored.flags | (biased === 0 ? DENORMAL : 0) };
}
