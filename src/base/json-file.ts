// SPDX-License-Identifier: Apache-2.0
/** Small files of JSON that are replaced whole. */
import { renameSync, writeFileSync } from 'node:fs';
import { writeError } from './errors.ts';
import { toJson } from './format.ts';

/** Written whole or not at all. */
export function writeJson(path: string, value: object): void {
  try {
    writeFileSync(`${path}.new`, `${toJson(value, 2)}\n`, { flush: true });
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw writeError(path, cause);
  }
}
