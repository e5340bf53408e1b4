// SPDX-License-Identifier: Apache-2.0
/** Variables of the environment that are there for tests: a daemon that finds one says so. */
import { UnderstudyError } from './errors.ts';

const HOOKS = [
  'UNDERSTUDY_FAULT',
  'UNDERSTUDY_HANG_TIMEOUT_MS',
  'UNDERSTUDY_HISTORY_EVERY_MS',
  'UNDERSTUDY_QEMU',
  'UNDERSTUDY_QEMU_ENV',
] as const;

export type TestHook = (typeof HOOKS)[number];

const NUMBERS = ['UNDERSTUDY_HANG_TIMEOUT_MS', 'UNDERSTUDY_HISTORY_EVERY_MS'] as const;

export function testHook(name: TestHook): string | null {
  return process.env[name] || null;
}

/**
 * @returns a number above 0, or null: it is not set
 * @throws UnderstudyError usage
 */
export function testHookNumber(name: (typeof NUMBERS)[number]): number | null {
  const text = testHook(name);
  if (text === null) return null;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new UnderstudyError(
    'usage',
    `${name}=${text} is no number above 0: unset it, it is for tests`,
  );
}

/** Names of those that are set. @throws UnderstudyError usage: one cannot be */
export function testHooksSet(): TestHook[] {
  for (const name of NUMBERS) testHookNumber(name);
  return HOOKS.filter((name) => testHook(name) !== null);
}
