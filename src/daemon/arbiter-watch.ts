// SPDX-License-Identifier: Apache-2.0
/**
 * The arbiter is asked all the time. Whether it could decide now: who finds out in a failure that it
 * is gone has lost the VM's service with it. And whether somebody has taken the VM from this side,
 * which then must end: a power-on elsewhere fences the VM that was before, and tells nobody.
 */
import { type Arbiter, describeHolder, type Holder } from '../arbiter/arbiter.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Report } from '../replica/ports.ts';
import type { ReplicaFacts } from '../replica/posture.ts';

const EVERY_MS = 2000;
/** Sooner, so that the end of the trouble is seen soon. */
const AGAIN_MS = 1000;

export interface ArbiterWatchOptions {
  readonly arbiter: Arbiter;
  readonly clock: Clock;
  readonly report: Report;
  /** Run of this daemon, as its claims have it. */
  readonly instance: string;
  /** What the arbiter has on record if it is still the same; `state` is there of a side that leads. */
  readonly facts: () => Pick<ReplicaFacts, 'vmId' | 'term' | 'state'>;
  /** Another side holds a later term of the VM that leads here. */
  readonly fenced: (reason: string) => void;
}

export class ArbiterWatch {
  readonly #o: ArbiterWatchOptions;
  #problem: string | null = null;
  #answerMs: number | null = null;
  /** Term of somebody else that was seen at the last look. */
  #taken = 0;
  #next: Timer | null = null;
  #closed = false;

  constructor(options: ArbiterWatchOptions) {
    this.#o = options;
    if (options.arbiter.shared) void this.#look();
  }

  /** Why no claim could be decided, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  /** How long its last answer took; null: none yet, or the last did not come. */
  get answerMs(): number | null {
    return this.#answerMs;
  }

  close(): void {
    this.#closed = true;
    this.#next?.cancel();
  }

  async #look(): Promise<void> {
    const { clock, arbiter } = this.#o;
    const fromMs = clock.nowMs();
    let problem = await arbiter.probe();
    const answerMs = clock.nowMs() - fromMs;
    if (problem === null) problem = await this.#compare();
    if (this.#closed) return;
    this.#answerMs = problem === null ? answerMs : null;
    this.#tell(problem);
    const isWell = problem === null && this.#taken === 0;
    this.#next = clock.after(isWell ? EVERY_MS : AGAIN_MS, () => void this.#look());
  }

  /** @returns why the arbiter's record of this VM is not to be gone by, or null */
  async #compare(): Promise<string | null> {
    const { arbiter, facts } = this.#o;
    const { vmId } = facts();
    if (vmId === null) return null;
    const holder = await arbiter.holder(vmId);
    if (holder !== null && 'unreachable' in holder) return holder.unreachable;
    const { term, state } = facts();
    if (holder === null || holder.term < term) {
      return `the arbiter ${arbiter.name} has no record of term ${term} of this VM (was it emptied?)`;
    }
    this.#taken = state === null ? 0 : this.#lookAt(holder, term);
    return null;
  }

  /** @returns a term of somebody else, later than ours; 0: there is none */
  #lookAt(holder: Holder, term: number): number {
    const { instance, fenced } = this.#o;
    if (holder.term <= term || holder.instance === instance) return 0;
    // At the second look: a side that hands over ends by itself, and well.
    if (this.#taken === holder.term && !this.#closed) {
      fenced(`fenced: term ${holder.term} is held by ${describeHolder(holder)}`);
    }
    return holder.term;
  }

  #tell(problem: string | null): void {
    const before = this.#problem;
    this.#problem = problem;
    if (problem !== null && before === null) {
      const reason = `nobody could go on alone now, should the other side be lost: ${problem}`;
      this.#o.report('arbiter-gone', { reason });
    } else if (problem === null && before !== null) {
      this.#o.report('arbiter-back', { reason: 'it decides again' });
    }
  }
}
