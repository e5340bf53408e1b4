// SPDX-License-Identifier: Apache-2.0
/** What a COLO primary tells while it runs: that COLO is over, and its checkpoints. */
import type { QmpEvent } from './qmp.ts';

/** COLO that ends before the guest leaves it waiting for an operator who says which side is lost. */
export class Exit {
  readonly early: Promise<never>;
  readonly onEvent: (event: QmpEvent) => void;

  constructor() {
    let isOver = false;
    let fail = (_: Error): void => {};
    this.early = new Promise((_, reject) => {
      fail = reject;
    });
    this.early.catch(() => {});
    this.onEvent = ({ event, data }) => {
      if (event === 'SHUTDOWN') isOver = true;
      if (event !== 'COLO_EXIT' || isOver) return;
      fail(new Error(`COLO ended before the guest did: ${String(data?.reason)}`));
    };
  }
}

/** Read from what the primary traces. */
export class Checkpoints {
  #count = 0;
  #pausedS = 0;
  #stoppedAtS: number | null = null;

  readonly onLine = (line: string): void => {
    const match = /@(\d+\.\d+):colo_vm_state_change Change '\w+' => '(\w+)'/.exec(line);
    if (match === null) return;
    const atS = Number(match[1]);
    if (match[2] === 'stop') this.#stoppedAtS = atS;
    else if (this.#stoppedAtS !== null) {
      this.#count += 1;
      this.#pausedS += atS - this.#stoppedAtS;
      this.#stoppedAtS = null;
    }
  };

  facts(): Record<string, number> {
    const checkpoints = this.#count;
    if (checkpoints === 0) return { checkpoints };
    return { checkpoints, checkpoint_pause_mean_ms: (this.#pausedS / checkpoints) * 1000 };
  }
}
