// SPDX-License-Identifier: Apache-2.0
/**
 * The `lockstep` protocol's seal policy: the exit log is shipped at once when an
 * output waits for it, else when it is large or its oldest record is
 * `batch_us_max` old. Source: Bressoud & Schneider's revised protocol; VMware
 * FT's output rule.
 *
 * A batch that only moves the horizon carries no record; it lets the backup run
 * on. A busy guest moves it all the time, so such batches are spaced; an idle
 * guest retires next to nothing, so they are spaced widely and the log of an
 * idle guest stays under 100 kbit/s.
 */
import type { SealPolicy, SealView } from './policy.ts';

export interface LockstepOptions {
  /** A record waits at most this long for its batch. */
  readonly batchUsMax: number;
  /** Records that seal at once. */
  readonly recordsMax?: number;
  /** Spacing of horizon-only batches while the guest computes. */
  readonly horizonMsBusy?: number;
  /** Spacing of horizon-only batches while it idles. */
  readonly horizonMsIdle?: number;
  /** Instructions since the last seal that count as busy. */
  readonly busyInstructions?: number;
}

export function lockstepSealPolicy(options: LockstepOptions): SealPolicy {
  const recordsMax = options.recordsMax ?? 1024;
  const horizonMsBusy = options.horizonMsBusy ?? 2;
  const horizonMsIdle = options.horizonMsIdle ?? 50;
  const busyInstructions = options.busyInstructions ?? 200_000;
  const batchMsMax = options.batchUsMax / 1000;

  return {
    name: 'lockstep',
    sealInMs(view: SealView): number {
      if (view.outputs > 0) return 0;
      if (view.records >= recordsMax) return 0;
      if (view.records > 0) return Math.max(0, batchMsMax - view.oldestRecordMs);
      if (!view.horizonMoved) return Number.POSITIVE_INFINITY;
      const spacing =
        view.instructionsSinceSeal >= busyInstructions ? horizonMsBusy : horizonMsIdle;
      return Math.max(0, spacing - view.sinceSealMs);
    },
  };
}
