// SPDX-License-Identifier: Apache-2.0
/** How a replica ends. */
import type { VmExit } from './ports.ts';

/** The message is the reason in `status`, the code the exit code's name. */
export interface Outcome {
  readonly ok: boolean;
  readonly code:
    | 'stopped'
    | 'divergence'
    | 'fenced'
    | 'peer-lost'
    | 'peer-refused'
    | 'qemu-died'
    | 'failure';
  readonly reason: string;
  /** What was thrown, where something was: it carries the exit code. */
  readonly error?: unknown;
}

/**
 * The outcome of a replay whose QEMU ended though it was not asked to. QEMU itself compares
 * every output and digest with the log (step 7 of the data path); the first mismatch ends it
 * with state `diverged` and a JSON text of what was expected and what happened.
 */
export function outcomeOfReplay(exit: VmExit): Outcome {
  switch (exit.reason) {
    case 'ended':
      return { ok: true, code: 'stopped', reason: exit.message };
    case 'diverged':
      return {
        ok: false,
        code: 'divergence',
        reason: `the replay diverged from the primary: ${exit.message}`,
      };
    case 'hung':
    case 'killed':
    case 'failed':
      return { ok: false, code: 'qemu-died', reason: exit.message };
  }
}
