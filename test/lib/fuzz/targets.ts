// SPDX-License-Identifier: Apache-2.0
/** All parsers of TypeScript's that are fuzzed. */
import { FILE_TARGETS } from './file-targets.ts';
import { REQUEST_TARGETS } from './request-targets.ts';
import type { Target } from './target.ts';
import { WIRE_TARGETS } from './wire-targets.ts';

export const SCRIPT_TARGETS: readonly Target[] = [
  ...WIRE_TARGETS,
  ...FILE_TARGETS,
  ...REQUEST_TARGETS,
];
