// SPDX-License-Identifier: Apache-2.0
/**
 * Blocks of code that inputs have reached, counted by V8 itself: nothing is compiled for it. To
 * ask costs some milliseconds, so it is asked of many inputs at once.
 */
import { type Profiler, Session } from 'node:inspector';

/** Ours and what parses for us; not the tests, nor what compiles TypeScript. */
const IS_OF_INTEREST = /^(file:\/\/)?\/.*\/(src|native|schema|capnp-ts|smol-toml|zod)\//;
const IS_TEST = /\/test\//;

export class Blocks {
  readonly #session = new Session();
  readonly #known = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  get size(): number {
    return this.#known.size;
  }

  /** @returns what was reached since it was last asked, and is not known */
  fresh(): string[] {
    let scripts: Profiler.ScriptCoverage[] = [];
    // It calls back before it returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error !== null) throw error;
      scripts = answer.result;
    });
    return scripts
      .filter(({ url }) => IS_OF_INTEREST.test(url) && !IS_TEST.test(url))
      .flatMap(({ scriptId, functions }) =>
        functions
          .flatMap(({ ranges }) => ranges.filter(({ count }) => count > 0))
          .map(({ startOffset, endOffset }) => `${scriptId}:${startOffset}:${endOffset}`),
      )
      .filter((block) => !this.#known.has(block));
  }

  know(blocks: readonly string[]): void {
    for (const block of blocks) this.#known.add(block);
  }
}
