// SPDX-License-Identifier: Apache-2.0
/**
 * Where daemons have their folders is in the environment (src/base/paths.ts), and so is where
 * the catalog and kept results are: what asks a run's daemons must leave it as it was.
 */

/** @param begin looks at the environment before it returns, and not later */
export function withState<T>(dir: string, begin: () => T): T {
  const before = process.env.UNDERSTUDY_STATE_DIR;
  process.env.UNDERSTUDY_STATE_DIR = dir;
  try {
    return begin();
  } finally {
    restore(before);
  }
}

/** Puts back what something that changes it for good has found. */
export async function keepingState<T>(run: () => Promise<T>): Promise<T> {
  const before = process.env.UNDERSTUDY_STATE_DIR;
  try {
    return await run();
  } finally {
    restore(before);
  }
}

function restore(value: string | undefined): void {
  if (value === undefined) delete process.env.UNDERSTUDY_STATE_DIR;
  else process.env.UNDERSTUDY_STATE_DIR = value;
}
