// SPDX-License-Identifier: Apache-2.0
/**
 * The mark beside an image of a protected VM, IMAGE.generation: of which power-on and term it
 * is, and whether another side's VM changes it (arbiter/newest.ts has what follows from that).
 */
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import type { ImageMark } from '../arbiter/newest.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import { syncFolder } from './disk.ts';

const schema = z.object({
  format: z.literal(1),
  name: z.string(),
  vm_id: z.string().regex(/^[0-9a-f]{32}$/),
  term: z.int().positive(),
  state: z.enum(['live', 'follows', 'ended']),
  instance: z.string(),
  generation: z.int().positive().nullable().default(null),
  /** For people: where, and when, UTC. */
  host: z.string(),
  at: z.string(),
});

export function generationFile(image: string): string {
  return `${image}.generation`;
}

/** With where and when it was made, for people. */
export type WrittenMark = ImageMark & { readonly host: string; readonly at: string };

/**
 * @returns null: there is none
 * @throws UnderstudyError image-older: it cannot be read, so nothing says what the image is of
 */
export function readGeneration(image: string): WrittenMark | null {
  const path = generationFile(image);
  if (!existsSync(path)) return null;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UnderstudyError(
      'image-older',
      `${path} is damaged, so that nothing says whether ${image} is the newest image of its VM ` +
        `(${messageOf(cause)}). If you know that it is, remove ${path}`,
      { cause },
    );
  }
}

/**
 * Whole or not at all, and it stays.
 * @throws UnderstudyError disk-full, log-write
 */
export function writeGeneration(image: string, mark: ImageMark, host: string): void {
  const path = generationFile(image);
  writeJson(path, { format: 1, ...mark, host, at: new Date().toISOString() });
  syncFolder(path);
}
