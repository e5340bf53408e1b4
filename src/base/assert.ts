// SPDX-License-Identifier: Apache-2.0
/** Assertions for programmer errors: on in every build, never caught. */

export class AssertionFailure extends Error {
  constructor(message: string) {
    super(`assertion failed: ${message}`);
    this.name = 'AssertionFailure';
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** The value, which cannot be null or undefined here for the reason given. */
export function defined<T>(value: T | null | undefined, why: string): T {
  if (value === null || value === undefined) throw new AssertionFailure(why);
  return value;
}

/** For the default branch of a switch over a closed union. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unexpected value ${String(value)}`);
}
