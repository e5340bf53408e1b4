// SPDX-License-Identifier: Apache-2.0
/** The marks beside a VM's images and what the arbiter knows (arbiter/newest.ts), for one daemon. */
import { open } from 'node:fs/promises';
import { type Arbiter, type Claimant, describeHolder } from '../arbiter/arbiter.ts';
import {
  generationOf,
  type ImageMark,
  idOfName,
  type Newest,
  newestOf,
  olderBecause,
} from '../arbiter/newest.ts';
import { messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import type { Generation, Report } from '../replica/ports.ts';
import { readGeneration, writeGeneration } from '../vm/generation.ts';

export interface GenerationOptions {
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly images: readonly string[];
  readonly report: Report;
  /** The operator's word: these images, newest or not. */
  readonly acceptsOlder: boolean;
}

export class ImageGeneration implements Generation {
  readonly #o: GenerationOptions;
  /** Number of the power-on that marks are of; null: not known (yet). */
  #number: number | null = null;
  /** Marks are made one after the other. */
  #last: Promise<void> = Promise.resolve();

  constructor(options: GenerationOptions) {
    this.#o = options;
  }

  async check(): Promise<void> {
    if (!this.#o.acceptsOlder) await this.#newest();
  }

  async powersOn(vmId: string): Promise<void> {
    const { arbiter, claimant, images } = this.#o;
    if (images.length === 0) return;
    const newest = await this.#newest();
    if (newest !== null) {
      this.#adopt(newest);
      // A backup of the VM that was before must not take over any more.
      await this.#claim(newest.vmId, newest.holder.term + 1, claimant);
    }
    const number = (newest?.generation ?? this.#lastNumber()) + 1;
    if (arbiter.shared) {
      await this.#claim(idOfName(claimant.name), number, { ...claimant, powerOn: vmId });
    }
    this.#number = number;
    this.#mark(vmId, 1, 'live');
  }

  follows(vmId: string, term: number): void {
    this.#later(async () => {
      this.#number = null;
      this.#mark(vmId, term, 'follows');
      // An arbiter that is slow to answer must not keep the mark.
      const { arbiter, claimant } = this.#o;
      this.#number = await generationOf(arbiter, claimant.name, vmId);
      if (this.#number !== null) this.#mark(vmId, term, 'follows');
    });
  }

  leads(vmId: string, term: number): void {
    this.#later(async () => {
      await this.#sync();
      this.#mark(vmId, term, 'live');
    });
  }

  ended(vmId: string, term: number): void {
    this.#later(async () => {
      await this.#sync();
      this.#mark(vmId, term, 'ended');
    });
  }

  /** Resolves when every mark is made, or its failure reported. */
  settle(): Promise<void> {
    return this.#last;
  }

  /** As far as these images know, where no arbiter counts. */
  #lastNumber(): number {
    if (this.#o.arbiter.shared) return 0;
    const marks = this.#o.acceptsOlder ? [] : this.#o.images.map(readGeneration);
    return Math.max(0, ...marks.map((mark) => mark?.generation ?? 0));
  }

  /** Who dies before the power-on finds its own claims again, and is taken for the newest. */
  #adopt({ vmId, holder, generation }: Newest): void {
    const { claimant, images, acceptsOlder } = this.#o;
    for (const image of acceptsOlder ? [] : images) {
      const mark = readGeneration(image);
      if (mark === null) continue;
      const { instance } = claimant;
      this.#write(image, { ...mark, vm_id: vmId, term: holder.term, instance, generation });
    }
  }

  /** @throws UnderstudyError image-older, unless the operator takes it; arbiter-unreachable */
  async #newest(): Promise<Newest | null> {
    const { arbiter, claimant, images, acceptsOlder } = this.#o;
    const known = arbiter.shared ? await newestOf(arbiter, claimant.name) : null;
    for (const image of acceptsOlder ? [] : images) {
      const mark = readGeneration(image);
      const isKnown = mark === null || mark.name === claimant.name;
      const newest = isKnown ? known : await newestOf(arbiter, mark.name);
      const why = olderBecause(mark, arbiter.shared ? newest : 'not shared');
      if (why !== null) throw older(image, claimant.name, why);
    }
    return known;
  }

  async #claim(id: string, term: number, claimant: Claimant): Promise<void> {
    const claim = await this.#o.arbiter.claim(id, term, claimant);
    if (claim.result === 'won') return;
    if (claim.result === 'unreachable') {
      throw new UnderstudyError('arbiter-unreachable', claim.reason);
    }
    const holder = describeHolder(claim.holder);
    throw new UnderstudyError(
      'fenced',
      `VM "${claimant.name}" was powered on, or taken over, meanwhile by ${holder}`,
    );
  }

  #mark(vmId: string, term: number, state: ImageMark['state']): void {
    const { name, instance } = this.#o.claimant;
    for (const image of this.#o.images) {
      this.#write(image, { name, vm_id: vmId, term, state, instance, generation: this.#number });
    }
  }

  #write(image: string, mark: ImageMark): void {
    writeGeneration(image, mark, this.#o.claimant.host);
  }

  /** What the image has is on its disk before a mark says that it has it. */
  async #sync(): Promise<void> {
    for (const image of this.#o.images) {
      try {
        const file = await open(image, 'r+');
        await file.datasync().finally(() => file.close());
      } catch (cause) {
        throw writeError(image, cause);
      }
    }
  }

  #later(make: () => Promise<void>): void {
    this.#last = this.#last.then(make).catch((error: unknown) => {
      this.#o.report('generation-not-written', { reason: messageOf(error) });
    });
  }
}

function older(image: string, name: string, why: string): UnderstudyError {
  return new UnderstudyError(
    'image-older',
    `disk image ${image} is not known to be the newest of VM "${name}": ${why}. Start ` +
      '`understudy primary` where the newest is and `understudy backup` here, with a copy of it ' +
      '(if its VM runs, with this one); or start from this one and lose what is newer: ' +
      '`understudy primary --accept-older-image`',
  );
}
