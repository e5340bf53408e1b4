// SPDX-License-Identifier: Apache-2.0
/**
 * Where in the guest's execution.
 *
 * What a point is made of is known here, and to those who write points down as bits (log, wire,
 * ring): under TCG it is an instruction count, `icount`; under KVM it will be more than one
 * number. All others compare points, name them and measure from one to another
 * (test/unit/opaque-position.test.ts).
 */

declare const opaque: unique symbol;

/**
 * A point of the guest's instruction stream: under TCG a bigint, so that none is allocated for
 * it. To the compiler it is a symbol, of which it refuses `<`, `+` and `${…}`.
 */
export type Point = symbol & { readonly [opaque]: 'point' };

/** A distance between two points, in what the accelerator counts. */
export type Instructions = bigint;

/** A point, and when: an idle guest stays at one point while its time goes on. */
export interface Position {
  readonly point: Point;
  /** The guest's virtual time. */
  readonly vtimeNs: bigint;
}

/** TCG's spelling of a point: instructions retired since power-on. */
export function atIcount(icount: bigint): Point {
  return icount as unknown as Point;
}

/** The instructions retired since power-on. */
export function icountOf(point: Point): bigint {
  return point as unknown as bigint;
}

export const POWER_ON: Position = { point: atIcount(0n), vtimeNs: 0n };

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function comparePoints(a: Point, b: Point): number {
  if (icountOf(a) < icountOf(b)) return -1;
  return icountOf(a) > icountOf(b) ? 1 : 0;
}

/** Whether they are one; of what is nowhere (null) too. */
export function samePoint(a: Point | null, b: Point | null): boolean {
  return a === null || b === null ? a === b : comparePoints(a, b) === 0;
}

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  const points = comparePoints(a.point, b.point);
  if (points !== 0 || a.vtimeNs === b.vtimeNs) return points;
  return a.vtimeNs < b.vtimeNs ? -1 : 1;
}

/** Distance that the guest has to go from one to the other; negative: it is past it. */
export function distance(from: Point, to: Point): Instructions {
  return icountOf(to) - icountOf(from);
}

/** The point so far after this one; before it if `by` is negative. */
export function advance(point: Point, by: Instructions): Point {
  return atIcount(icountOf(point) + by);
}

/** What the guest has executed up to a point, in what the accelerator counts. */
export function sincePowerOn(point: Point): Instructions {
  return icountOf(point);
}

/** What a point is called in names of folders, keys of maps and questions to QEMU: digits. */
export function keyOf(point: Point): string {
  return String(icountOf(point));
}

/** The point of that key; null: it is none. */
export function parsePoint(text: string): Point | null {
  return /^\d+$/.test(text) ? atIcount(BigInt(text)) : null;
}

/** A point's key and its guest time, as QEMU's answers have them. @throws SyntaxError */
export function parsePosition(point: string, vtimeNs: string): Position {
  return { point: atIcount(BigInt(point)), vtimeNs: BigInt(vtimeNs) };
}

/** In messages, as the user may give it back: `icount 1234567`. */
export function nameOf(point: Point): string {
  return `icount ${keyOf(point)}`;
}

/** For people: `icount 1,234,567`. */
export function formatPoint(point: Point): string {
  return `icount ${icountOf(point).toLocaleString('en-US')}`;
}

/** For people: `icount 1,234,567 at 2.469134 s`. */
export function formatPosition({ point, vtimeNs }: Position): string {
  return `${formatPoint(point)} at ${(Number(vtimeNs) / 1e9).toFixed(6)} s`;
}
