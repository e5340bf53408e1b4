// SPDX-License-Identifier: Apache-2.0
/**
 * retained.json: where a recording begins of which the oldest part has been deleted
 * (`record --retain`). It is written before anything is deleted, so what it names is
 * there; what is older may be, and is not used.
 */
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import type { Point } from '../base/position.ts';
import { pointField, pointSchema } from '../base/position-json.ts';

const FORMAT = 1;

export interface Retained {
  /** The full checkpoint at which a replay of all that is left starts. */
  readonly from: Point;
  /** The segment that has it: the first one. */
  readonly fromSegment: number;
  /** Bytes of console.log that the log before that segment covered: a hole by now. */
  readonly consoleFrom: number;
}

const schema = z
  .object({
    format: z.literal(FORMAT),
    from_icount: pointSchema,
    from_segment: z.int().positive(),
    console_from: z.int().nonnegative(),
  })
  .transform(
    (read): Retained => ({
      from: read.from_icount,
      fromSegment: read.from_segment,
      consoleFrom: read.console_from,
    }),
  );

export function writeRetained(path: string, { from, fromSegment, consoleFrom }: Retained): void {
  writeJson(path, {
    format: FORMAT,
    ...pointField('from', from),
    from_segment: fromSegment,
    console_from: consoleFrom,
  });
}

/** @returns null for a recording of which nothing has been deleted */
export function readRetained(path: string): Retained | null {
  if (!existsSync(path)) return null;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UnderstudyError('log-corrupt', `${path} is damaged: ${messageOf(cause)}`, { cause });
  }
}
