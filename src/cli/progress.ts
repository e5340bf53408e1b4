// SPDX-License-Identifier: Apache-2.0
/** Progress on stderr, when that is a terminal. */
import { SingleBar } from 'cli-progress';
import { formatBytes, formatCount } from '../base/format.ts';
import { type Point, sincePowerOn } from '../base/position.ts';

const MILLION = 1_000_000n;

export class Progress {
  readonly #bar: SingleBar | null;

  /** @param end where it goes to, null when unknown */
  constructor(title: string, end: Point | null, wanted: boolean) {
    if (!wanted || process.stderr.isTTY !== true || end === null) {
      this.#bar = null;
      return;
    }
    const millions = sincePowerOn(end) / MILLION;
    this.#bar = new SingleBar({
      format: `${title} {bar} {percentage} % of ${formatCount(millions)} M instructions`,
      clearOnComplete: true,
      hideCursor: true,
      fps: 5,
    });
    this.#bar.start(Math.max(1, Number(millions)), 0);
  }

  at(point: Point): void {
    this.#bar?.update(Number(sincePowerOn(point) / MILLION));
  }

  /** Idempotent. */
  close(): void {
    this.#bar?.stop();
  }
}

/** A Progress of bytes. */
export class ByteProgress {
  readonly #bar: SingleBar | null;
  #isStarted = false;

  constructor(title: string, wanted: boolean) {
    this.#bar =
      wanted && process.stderr.isTTY === true
        ? new SingleBar({
            format: `${title} {bar} {percentage} % of {size}`,
            clearOnComplete: true,
            hideCursor: true,
            fps: 5,
          })
        : null;
  }

  at(done: number, total: number): void {
    if (!this.#isStarted) this.#bar?.start(Math.max(1, total), 0, { size: formatBytes(total) });
    this.#isStarted = true;
    this.#bar?.update(done);
  }

  /** Idempotent. */
  close(): void {
    this.#bar?.stop();
  }
}
