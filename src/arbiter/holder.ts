// SPDX-License-Identifier: Apache-2.0
/** A holder as an arbiter keeps it: JSON of whoever may write there, so nothing in it is believed. */
import { z } from 'zod';
import { printable } from '../base/printable.ts';
import type { Holder } from './arbiter.ts';

export const HOLDER_BYTES_MAX = 64 * 1024;

const words = z.string().max(1024).transform(printable);

const holderSchema = z.object({
  role: z.enum(['primary', 'backup']),
  name: words,
  host: words,
  pid: z.int(),
  instance: words,
  /** It is asked for as a VM's id, by which an arbiter may find a folder. */
  powerOn: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
  term: z.int().positive(),
  claimedAt: words,
});

/** @throws Error with a reason when it is none */
export function parseHolder(text: string): Holder {
  let given: unknown = null;
  try {
    given = JSON.parse(text);
  } catch {
    // Then it is no object either.
  }
  const { success, data } = holderSchema.safeParse(given);
  if (!success) throw new Error('its record of who holds the term is damaged');
  const { powerOn, ...rest } = data;
  return powerOn === undefined ? rest : { ...rest, powerOn };
}
