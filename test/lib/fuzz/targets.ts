// SPDX-License-Identifier: Apache-2.0
/** All parsers of TypeScript's that are fuzzed. */
import { FILE_TARGETS } from './file-targets.ts';
import { REQUEST_TARGETS } from './request-targets.ts';
import type { Target } from './target.ts';
import { WIRE_TARGETS } from './wire-targets.ts';

export const TARGETS_BY_FILE: Readonly<Record<string, readonly Target[]>> = {
  'wire-targets.ts': WIRE_TARGETS,
  'file-targets.ts': FILE_TARGETS,
  'request-targets.ts': REQUEST_TARGETS,
};

export const SCRIPT_TARGETS: readonly Target[] = Object.values(TARGETS_BY_FILE).flat();
