// SPDX-License-Identifier: Apache-2.0
/** How JSON has points and positions, in files, in `--json` and in a status: TCG's `icount`. */
import { z } from 'zod';
import { atIcount, icountOf, type Point, type Position } from './position.ts';

export const pointSchema = z.coerce.bigint().transform(atIcount);

/** Fields of an object that has one position. */
export const positionShape = { icount: pointSchema, vtime_ns: z.coerce.bigint() };

/** The position in the place of those two fields. */
export function located<Read extends { icount: Point; vtime_ns: bigint }>({
  icount,
  vtime_ns,
  ...rest
}: Read): Omit<Read, 'icount' | 'vtime_ns'> & Position {
  return { ...rest, point: icount, vtimeNs: vtime_ns };
}

/** Those two fields, to be written. */
export function positionFields({ point, vtimeNs }: Position): { icount: bigint; vtime_ns: bigint } {
  return { icount: icountOf(point), vtime_ns: vtimeNs };
}

/** What those two, read back, say of how far it is. */
export function countIn<Count>({ icount }: { readonly icount: Count }): Count {
  return icount;
}

/** Those two of something that has no position. */
export const NO_POSITION = { icount: null, vtime_ns: null } as const;

type PointField<Name extends string, Value> = { readonly [key in `${Name}_icount`]: Value };

/** The field of a point that is one of several: `from` makes it `from_icount`. */
export function pointField<Name extends string>(
  name: Name,
  point: Point | null,
): PointField<Name, bigint | null> {
  const value = point === null ? null : icountOf(point);
  return { [`${name}_icount`]: value } as PointField<Name, bigint | null>;
}
