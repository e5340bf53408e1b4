// SPDX-License-Identifier: Apache-2.0
/** What was taken on the way, to be given back: the last first, once, whatever fails. */
export class Undo {
  readonly #steps: (() => unknown)[] = [];
  #running: Promise<void> | null = null;

  /** Before `run`. */
  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** Idempotent. @throws the first error of a step, after all of them */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of this.#steps.reverse()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
