// SPDX-License-Identifier: Apache-2.0
/**
 * `record --retain`: deletes the oldest checkpoints, and the log before the oldest that
 * is kept, while the VM runs (keeper.ts: when; kept-folder.ts: how).
 */

import type { Recording } from '../recording/folder.ts';
import { Keeper, type RecordedVm } from './keeper.ts';
import { KeptFolder } from './kept-folder.ts';
import type { RetainLimits } from './limits.ts';
import type { SpaceLimits } from './space.ts';

/** With a limit by size the log's growth is looked at so often: it can be 500 MB/s. */
const TICK_MS = 100;
const LOOK_MS = 1000;

export class Trimmer {
  readonly #keeper: Keeper;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param live the VM whose recording it is; null: it has ended
   * @param onWarning told, once, what keeps it from deleting
   */
  constructor(
    recording: Recording,
    limits: RetainLimits,
    onWarning: (text: string) => void,
    live: { readonly vm: RecordedVm; readonly space: SpaceLimits | null } | null = null,
  ) {
    const kept = new KeptFolder(recording, onWarning);
    const { vm, space } = live ?? { vm: null, space: null };
    this.#keeper = new Keeper({ limits, space, kept, vm, onWarning });
    this.#timer = setInterval(
      () => this.#keeper.tick(performance.now(), Date.now()),
      space === null ? LOOK_MS : TICK_MS,
    );
    this.#timer.unref();
  }

  /** The VM is gone. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks a last time. */
  async close(): Promise<void> {
    this.stop();
    await this.#keeper.settled();
    this.#keeper.look(Date.now());
    await this.#keeper.settled();
  }
}
