// SPDX-License-Identifier: Apache-2.0
// Progress on stderr: one line per step; a live counter when it is a terminal.

const seconds = (fromMs) => ((performance.now() - fromMs) / 1000).toFixed(1);

export class Progress {
  #stream;
  #live;
  #startedAt = performance.now();
  #quietDone;
  #step;

  /** @param quietDone do not print steps that had nothing to do */
  constructor({ stream = process.stderr, quietDone = true } = {}) {
    this.#stream = stream;
    this.#live = stream.isTTY === true;
    this.#quietDone = quietDone;
  }

  begin(name) {
    this.#step = { name, at: performance.now(), shown: false, lastPrintedAt: 0 };
  }

  /** Something is really being done in this step. */
  note(text) {
    const step = this.#step;
    step.shown = true;
    if (this.#live) this.#stream.write(`\r\x1b[K${step.name}: ${text.slice(0, 100)}`);
    else {
      step.lastPrintedAt = performance.now();
      this.#stream.write(`${step.name}: ${text}\n`);
    }
  }

  /** A counter that moves fast: every move on a terminal, every 10 s elsewhere. */
  tick(text) {
    const step = this.#step;
    step.shown = true;
    if (this.#live || performance.now() - step.lastPrintedAt > 10_000) this.note(text);
  }

  end() {
    const step = this.#step;
    if (step.shown || !this.#quietDone) {
      const text = step.shown ? `done in ${seconds(step.at)} s` : 'up to date';
      this.#stream.write(`${this.#live ? '\r\x1b[K' : ''}${step.name}: ${text}\n`);
    }
  }

  finish() {
    this.#stream.write(`ready in ${seconds(this.#startedAt)} s\n`);
  }
}
