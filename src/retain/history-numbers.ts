// SPDX-License-Identifier: Apache-2.0
/** How often a pair that keeps its past makes a checkpoint. */
import { CHAIN_MAX, type CheckpointNumbers } from '../vm/checkpointing.ts';
import { chainMaxFor } from './limits.ts';

/** Time between a pair's checkpoints: a debugger goes back to one in seconds. */
const HISTORY_EVERY_MS = 10_000;
/** Least length of a chain, however short the span: a full one a minute is enough. */
const HISTORY_CHAIN_MIN = 5;

/** @param everyMs for tests, which have less time */
export function historyNumbers(historyMs: number, everyMs = HISTORY_EVERY_MS): CheckpointNumbers {
  const limits = { count: null, ageMs: historyMs, bytes: null };
  const chainMax = Math.max(HISTORY_CHAIN_MIN, chainMaxFor(limits, everyMs, CHAIN_MAX));
  return { everyInstructions: 0, everyMs, chainMax };
}
