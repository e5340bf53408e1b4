// SPDX-License-Identifier: Apache-2.0
/** The disks of a live VM's host: one that is full, fails or hangs is none of the guest's affair. */

import type { Clock, Timer } from '../base/clock.ts';
import { type DiskNews, describeDiskNews } from '../vm/disk-news.ts';
import type { Report } from './ports.ts';

/** Room may come by itself; and a backup that is as full has said so, by then, and gone. */
const GRACE_MS = 2000;

export interface DiskError {
  readonly text: string;
  /** The guest waits for room, and knows of nothing. */
  readonly waits: boolean;
}

export class DiskWatch {
  readonly #clock: Clock;
  readonly #report: Report;
  /** The disk is still full after a while: the backup's may have room. */
  readonly #stillFull: () => void;
  #error: DiskError | null = null;
  #timer: Timer | null = null;

  constructor(clock: Clock, report: Report, stillFull: () => void) {
    this.#clock = clock;
    this.#report = report;
    this.#stillFull = stillFull;
  }

  /** The disk that is full, or the last error that the guest was told of. */
  get error(): DiskError | null {
    return this.#error;
  }

  heard(news: DiskNews): void {
    this.#report(`disk-${news.kind}`, { reason: describeDiskNews(news) });
    if (news.kind === 'stuck' || news.kind === 'answers' || news.kind === 'failing') return; // leaving.ts's
    if (news.kind === 'room') {
      this.#error = null;
      this.stop();
      return;
    }
    if (news.kind === 'error' && this.#error?.waits === true) return;
    this.#error = { text: news.text, waits: news.kind === 'full' };
    if (!this.#error.waits) return;
    this.stop();
    this.#timer = this.#clock.after(GRACE_MS, this.#stillFull);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
