// SPDX-License-Identifier: Apache-2.0
/**
 * Which image of a VM is the newest, after all sides of it are down.
 *
 * A VM's name has generations, one for each power-on. They are claimed as terms are (of all
 * claims of one exactly one is won), and the claim says which power-on it is for; the terms of
 * that one say who had the VM last. An image has a mark beside it (vm/generation.ts) with what
 * it is of. It is the newest if it was live here last, or has the VM's end.
 */
import { createHash } from 'node:crypto';
import { UnderstudyError } from '../base/errors.ts';
import { type Arbiter, describeHolder, type Holder } from './arbiter.ts';

export interface ImageMark {
  /** The VM's. */
  readonly name: string;
  /** The power-on, 32 hex digits. */
  readonly vm_id: string;
  /** In which the mark was made. */
  readonly term: number;
  /** follows: another side's VM changes it; ended: it has all of it. */
  readonly state: 'live' | 'follows' | 'ended';
  /** Run of the daemon that made it (arbiter.ts, Claimant). */
  readonly instance: string;
  /** Number of the power-on, as the arbiter counts them; null: not told. */
  readonly generation: number | null;
}

/** What an arbiter knows of a VM by its name. */
export interface Newest {
  /** Counts power-ons. */
  readonly generation: number;
  readonly vmId: string;
  /** Run of the daemon that powered it on, or was about to. */
  readonly instance: string;
  /** Who had it last. */
  readonly holder: Holder;
}

/** What stands for a VM's name where an arbiter wants the id of a power-on. */
export function idOfName(name: string): string {
  return createHash('sha256').update(`VM ${name}`).digest('hex').slice(0, 32);
}

/**
 * @returns null: no VM of that name was ever powered on
 * @throws UnderstudyError arbiter-unreachable
 */
export async function newestOf(arbiter: Arbiter, name: string): Promise<Newest | null> {
  const powerOn = await holderOf(arbiter, idOfName(name));
  if (powerOn === null) return null;
  const { term, instance, powerOn: vmId = '' } = powerOn;
  // Its terms may have been removed by hand: then nobody is known to have held one.
  const holder = (await holderOf(arbiter, vmId)) ?? { ...powerOn, term: 0 };
  return { generation: term, vmId, instance, holder };
}

/** Number of a VM's power-on, or null where the arbiter does not say. */
export async function generationOf(
  arbiter: Arbiter,
  name: string,
  vmId: string,
): Promise<number | null> {
  const powerOn = await arbiter.holder(idOfName(name));
  if (powerOn === null || 'unreachable' in powerOn) return null;
  return powerOn.powerOn === vmId ? powerOn.term : null;
}

/** Which of two images of a VM has more of it, as far as their marks tell; null: they do not. */
export function newerOf(a: ImageMark | null, b: ImageMark | null): ImageMark | null {
  if (a === null || b === null) return null;
  if (a.generation !== null && b.generation !== null && a.generation !== b.generation) {
    return a.generation > b.generation ? a : b;
  }
  if (a.vm_id !== b.vm_id) return null;
  const isNewer = (one: ImageMark, two: ImageMark): boolean =>
    one.state !== 'follows' && (two.state === 'follows' || one.term > two.term);
  return isNewer(a, b) ? a : isNewer(b, a) ? b : null;
}

/** "of generation 3, term 2, live", for messages. */
export function describeMark({ generation, term, state }: ImageMark): string {
  const number = generation === null ? '' : `generation ${generation}, `;
  return `of ${number}term ${term}, ${STATES[state]}`;
}

const STATES: Readonly<Record<ImageMark['state'], string>> = {
  live: 'live',
  follows: "a backup's",
  ended: 'ended',
};

async function holderOf(arbiter: Arbiter, id: string): Promise<Holder | null> {
  const holder = await arbiter.holder(id);
  if (holder === null || !('unreachable' in holder)) return holder;
  throw new UnderstudyError('arbiter-unreachable', holder.unreachable);
}

/**
 * Why an image is not known to be the newest, or null when it is.
 * @param mark null: there is none beside it
 * @param newest null: the arbiter knows of none; 'not shared': there is no arbiter to ask, and
 *   without one nobody ever took over
 */
export function olderBecause(
  mark: ImageMark | null,
  newest: Newest | null | 'not shared',
): string | null {
  if (mark === null) {
    if (newest === null || newest === 'not shared') return null;
    return `nothing beside it says of which moment it is, and ${whoHadIt(newest)}`;
  }
  if (newest === 'not shared') return mark.state === 'follows' ? followed(mark) : null;
  if (mark.state === 'follows') {
    if (newest?.holder.instance === mark.instance) {
      return (
        `a backup was taking over with it, in term ${newest.holder.term}, and did not come to ` +
        `the end of that: the image of the side that had term ${mark.term} is the newest`
      );
    }
    return newest === null ? followed(mark) : `${followed(mark)}; ${whoHadIt(newest)}`;
  }
  if (newest === null) {
    return mark.state === 'ended' ? null : 'the arbiter does not know it (is it another one?)';
  }
  if (newest.vmId !== mark.vm_id && newest.instance !== mark.instance) {
    return `it is of an earlier power-on; ${whoHadIt(newest)}`;
  }
  const { holder } = newest;
  if (holder.term === mark.term || holder.instance === mark.instance) return null;
  return `it is of term ${mark.term}; ${whoHadIt(newest)}`;
}

function followed({ term }: ImageMark): string {
  return `it is a backup's, which followed term ${term} and never was live`;
}

/** "the newest is the image of …", for messages. */
function whoHadIt({ holder }: Newest): string {
  return `the newest is the image of ${describeHolder(holder)}, with term ${holder.term}`;
}
