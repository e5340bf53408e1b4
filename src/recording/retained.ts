// SPDX-License-Identifier: Apache-2.0
/**
 * retained.json: where a recording begins of which the oldest part has been deleted
 * (`record --retain`). It is written before anything is deleted, so what it names is
 * there; what is older may be, and is not used.
 */
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../base/errors.ts';

const schema = z.object({
  format: z.literal(1),
  /** The full checkpoint at which a replay of all that is left starts. */
  from_icount: z.coerce.bigint(),
  /** The segment that has it: the first one. */
  from_segment: z.int().positive(),
  /** Bytes of console.log that the log before that segment covered: a hole by now. */
  console_from: z.int().nonnegative(),
});

export type Retained = z.output<typeof schema>;

/** @returns null for a recording of which nothing has been deleted */
export function readRetained(path: string): Retained | null {
  if (!existsSync(path)) return null;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UnderstudyError('log-corrupt', `${path} is damaged: ${messageOf(cause)}`, { cause });
  }
}
