// SPDX-License-Identifier: Apache-2.0
/** A library that is loaded into a daemon, and into its QEMU, whose environment is empty else. */

/** @param words variables that the library reads */
export function preloaded(
  library: string,
  words: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const env = { LD_PRELOAD: library, ...words };
  return { ...env, UNDERSTUDY_QEMU_ENV: Object.keys(env).join(' ') };
}
