// SPDX-License-Identifier: Apache-2.0
/** All experiments by name, in the order of a report. */
import type { ExperimentKind } from './experiment.ts';

export const EXPERIMENTS: readonly ExperimentKind[] = [];
