// SPDX-License-Identifier: Apache-2.0
/** What a guest does, or is done to it, that can end an epoch; include/exitlog_abi.h says what each is. */

/** In the order of their ordinals, as EXITLOG_EVENTS has them (test/native/abi.test.ts). */
export const CUT_EVENTS = [
  'NET_OUT',
  'CHAR_OUT',
  'DISK_WRITE',
  'NET_IN',
  'CHAR_IN',
  'DISK_DONE',
  'ENTROPY',
  'TIMER',
  'IO_LOG',
  'PAGES',
  'NET_LONE',
] as const;
export type CutEvent = (typeof CUT_EVENTS)[number];
