// SPDX-License-Identifier: Apache-2.0
/** A parser of TypeScript's that is given any bytes (docs/fuzzing.md). */
import { UnderstudyError } from '../../../src/base/errors.ts';
import type { Random } from '../../simulation/random.ts';

export interface Target {
  readonly name: string;
  /** Small inputs that are taken, or nearly. */
  readonly seeds: () => readonly Buffer[];
  /** An input that is much like `seed`, or has parts of `other`. */
  readonly mutate: (seed: Buffer, other: Buffer, random: Random) => Buffer;
  /**
   * Reads it.
   * @returns what was read
   * @throws what the parser throws for bytes that it refuses
   */
  readonly run: (input: Buffer) => unknown;
  /** Whether that is what it is documented to throw, beside an UnderstudyError. */
  readonly refusesBy?: (error: unknown) => boolean;
}

export const refuses = (target: Target, error: unknown): boolean =>
  error instanceof UnderstudyError || (target.refusesBy?.(error) ?? false);

/** A property that holds whatever the input. */
export class BrokenProperty extends Error {}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new BrokenProperty(what);
}
