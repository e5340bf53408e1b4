// SPDX-License-Identifier: Apache-2.0
/**
 * A follower that executes the log. Ready is its QEMU once it waits for the first record; all
 * of the log is in its ring when it is told to go live, which it does at the log's end.
 */
import type { StartUnderstudy } from './understudy.ts';
import { type Kind, Waiting } from './waiting.ts';

const REPLAYING: Kind = {
  ready: 'replaying',
  handOver: () => {},
  // Its QEMU gets there by itself, and ends.
  ended: () => {},
};

export const startReplaying: StartUnderstudy = (...given) => Waiting.start(REPLAYING, ...given);
