// SPDX-License-Identifier: Apache-2.0
/** The marks beside the images of one host (arbiter/newest.ts), which survive its crash. */
import type { Claimant } from '../../src/arbiter/arbiter.ts';
import { type ImageMark, olderBecause } from '../../src/arbiter/newest.ts';
import type { Generation } from '../../src/replica/ports.ts';
import type { Random } from './random.ts';
import type { Host, SimArbiter } from './world.ts';

const WRITE_MS_MAX = 20;

export class SimGeneration implements Generation {
  mark: ImageMark | null = null;
  readonly #host: Host;
  readonly #claimant: Claimant;
  readonly #random: Random;
  /** What is to be written, in order. */
  readonly #queue: ImageMark[] = [];

  constructor(host: Host, claimant: Claimant, random: Random) {
    this.#host = host;
    this.#claimant = claimant;
    this.#random = random;
  }

  async check(): Promise<void> {}

  async powersOn(vmId: string): Promise<void> {
    this.mark = this.#of(vmId, 1, 'live');
  }

  follows(vmId: string, term: number): void {
    this.#later(this.#of(vmId, term, 'follows'));
  }

  leads(vmId: string, term: number): void {
    this.#later(this.#of(vmId, term, 'live'));
  }

  ended(vmId: string, term: number): void {
    this.#later(this.#of(vmId, term, 'ended'));
  }

  /** Whether `understudy primary` would take this host's images once everybody is dead. */
  isNewest(arbiter: SimArbiter): boolean {
    const { holder } = arbiter;
    if (this.mark === null || holder === null) return false;
    const { vm_id: vmId } = this.mark;
    return olderBecause(this.mark, { generation: 1, vmId, instance: '', holder }) === null;
  }

  #of(vmId: string, term: number, state: ImageMark['state']): ImageMark {
    const { name, instance } = this.#claimant;
    return { name, vm_id: vmId, term, state, instance, generation: null };
  }

  #later(mark: ImageMark): void {
    this.#queue.push(mark);
    if (this.#queue.length === 1) this.#writeNext();
  }

  #writeNext(): void {
    this.#host.after(this.#random.next() * WRITE_MS_MAX, () => {
      this.mark = this.#queue.shift() ?? this.mark;
      if (this.#queue.length > 0) this.#writeNext();
    });
  }
}
