// SPDX-License-Identifier: Apache-2.0
/** All figures, in the order of a report. */
import type { Figure } from './figure.ts';
import { kemari2007 } from './kemari-2007.ts';

export const FIGURES: readonly Figure[] = [kemari2007];
