// SPDX-License-Identifier: Apache-2.0
/** What is known of images that no daemon need run for: their marks, and the arbiter's record. */
import { existsSync, statSync } from 'node:fs';
import type { Arbiter, Holder } from '../arbiter/arbiter.ts';
import { type ImageMark, type Newest, newestOf, olderBecause } from '../arbiter/newest.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { isIncomplete, journalOf } from '../vm/disk.ts';
import { readGeneration, type WrittenMark } from '../vm/generation.ts';

export interface ImageFacts {
  readonly image: string;
  readonly mark: WrittenMark | null;
  /** Why the mark cannot be read, or null. */
  readonly mark_problem: string | null;
  /** A join has begun to overwrite it, and did not come to its end. */
  readonly incomplete: boolean;
  /** Writes that did not reach it are beside it, and are put in at the next start. */
  readonly journal: boolean;
  /** Null: there is no arbiter to ask, or it does not answer. */
  readonly newest: boolean | null;
  /** Why it is not known to be the newest, or null. */
  readonly older_because: string | null;
}

export interface ArbiterRecord {
  readonly name: string;
  /** Number of the last power-on; null: none, or it does not answer. */
  readonly generation: number | null;
  readonly vm_id: string | null;
  /** Who has the last term. */
  readonly holder: Holder | null;
  readonly problem: string | null;
}

/** @param arbiter null: not asked */
export async function imageFacts(
  images: readonly string[],
  arbiter: Arbiter | null,
): Promise<ImageFacts[]> {
  return Promise.all(images.map((image) => factsOf(image, arbiter)));
}

async function factsOf(image: string, arbiter: Arbiter | null): Promise<ImageFacts> {
  if (!existsSync(image) || !statSync(image).isFile()) {
    throw new UnderstudyError('image-missing', `there is no disk image ${image}`);
  }
  let mark: WrittenMark | null = null;
  let problem: string | null = null;
  try {
    mark = readGeneration(image);
  } catch (error) {
    problem = messageOf(error);
  }
  const known = mark === null || arbiter === null ? null : await judged(mark, arbiter);
  return {
    image,
    mark,
    mark_problem: problem,
    incomplete: isIncomplete(image),
    journal: existsSync(journalOf(image)),
    newest: known === null ? null : known.why === null,
    older_because: known?.why ?? null,
  };
}

/** @returns null: the arbiter does not answer */
async function judged(mark: ImageMark, arbiter: Arbiter): Promise<{ why: string | null } | null> {
  if (!arbiter.shared) return { why: olderBecause(mark, 'not shared') };
  try {
    return { why: olderBecause(mark, await newestOf(arbiter, mark.name)) };
  } catch {
    return null;
  }
}

export async function arbiterRecord(arbiter: Arbiter, name: string): Promise<ArbiterRecord> {
  let newest: Newest | null = null;
  let problem: string | null = null;
  try {
    if (arbiter.shared) newest = await newestOf(arbiter, name);
  } catch (error) {
    problem = messageOf(error);
  }
  return {
    name: arbiter.name,
    generation: newest?.generation ?? null,
    vm_id: newest?.vmId ?? null,
    holder: newest?.holder ?? null,
    problem,
  };
}
