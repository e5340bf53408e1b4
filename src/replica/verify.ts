// SPDX-License-Identifier: Apache-2.0
/**
 * Step 7 of the data path: what became of the replay. QEMU itself compares every
 * output and digest with the log; the first mismatch ends it with state
 * `diverged` and a JSON text of what was expected and what happened.
 */
import type { Outcome } from './phase.ts';
import type { VmExit } from './ports.ts';

/** The outcome of a backup whose QEMU ended though it was not asked to. */
export function verdictOf(exit: VmExit): Outcome {
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
