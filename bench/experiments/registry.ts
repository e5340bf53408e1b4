// SPDX-License-Identifier: Apache-2.0
/** All experiments by name, in the order of a report. */
import { bandwidth } from './bandwidth.ts';
import { dirtyPages } from './dirty-pages.ts';
import { epochs } from './epochs.ts';
import type { ExperimentKind } from './experiment.ts';
import { failover } from './failover.ts';
import { logDensity } from './log-density.ts';

export const EXPERIMENTS: readonly ExperimentKind[] = [
  failover,
  bandwidth,
  dirtyPages,
  epochs,
  logDensity,
];
