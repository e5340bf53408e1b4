// SPDX-License-Identifier: Apache-2.0
/** All figures, in the order of a report. */
import { bressoudSchneider } from './bressoud-schneider.ts';
import { colesa } from './colesa.ts';
import { events } from './events.ts';
import { failover } from './failover.ts';
import type { Figure } from './figure.ts';
import { kemari2007 } from './kemari-2007.ts';
import { kemariReplay } from './kemari-replay.ts';
import { logBytes } from './log-bytes.ts';
import { overview } from './overview.ts';
import { pauses } from './pauses.ts';
import { remus } from './remus.ts';
import { vmwareFt } from './vmware-ft.ts';

export const FIGURES: readonly Figure[] = [
  overview,
  kemari2007,
  events,
  kemariReplay,
  remus,
  pauses,
  bressoudSchneider,
  vmwareFt,
  colesa,
  failover,
  logBytes,
];
