// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

export interface QuorumPlant {
  readonly name: string;
  /** Below native/kvm-exit-log, or libraft/src/…. */
  readonly file?: string;
  readonly right?: string;
  readonly wrong?: string;
  /** One of our patches to libraft, taken back. */
  readonly without?: string;
}

export function quorumPrograms(
  progress: Progress,
  options?: { sanitized?: boolean },
): Promise<string>;
export function plantedSimulation(plant: QuorumPlant, progress: Progress): Promise<string>;
