// SPDX-License-Identifier: Apache-2.0
/**
 * What a new backup is given of a VM that runs, under a protocol by checkpoint: its disks
 * where they differ, copied while the guest writes to them. Its memory comes with the first
 * epoch, and with it all that the guest has written to its disks since before the copy began:
 * QEMU notes it in the ring of state, and until the backup is there the courier keeps it in a
 * file (native/kvm-exit-log/addon/ship/states.h). What the copy has wrong of a block, or
 * half, is among that.
 */
import type { Courier } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import type { GivenState, StateSource } from '../replica/ports.ts';
import type { PeerSession } from '../wire/session.ts';
import { sendDisks } from './send-state.ts';
import { type SourceOptions, sending, untilDone } from './source.ts';

export interface ImageSourceOptions extends SourceOptions {
  /** Ships the VM's log; known once it does. */
  readonly shipping: () => Pick<Courier, 'keepState' | 'shipFacts' | 'flush'> | null;
  /** Where what the guest writes meanwhile is kept. */
  readonly dir: string;
}

/** An image begins where no disk request is in flight. */
const BEGIN_MS_MAX = 30_000;
/** Writes to disks are noted, and no epoch ends. */
const NEVER_NS = 2n ** 64n - 1n;

export class ImageSource implements StateSource {
  readonly #o: ImageSourceOptions;

  constructor(options: ImageSourceOptions) {
    this.#o = options;
  }

  get refusal(): string | null {
    return this.#o.refusal;
  }

  async give(
    to: PeerSession,
    have: readonly BigUint64Array[],
    progress: (percent: number, doing: string) => void,
    signal: AbortSignal,
  ): Promise<GivenState | null> {
    const { images, ring, dir } = this.#o;
    const shipping = this.#o.shipping();
    assert(shipping !== null, 'a VM that ships');
    shipping.keepState(dir);
    ring.setEpochs({ everyNs: NEVER_NS, packetNs: NEVER_NS, inFlight: 0, digests: false });
    const wanted = ring.beginEpochs();
    const begun = (): boolean => ring.status().epochStarts >= wanted;
    await untilDone(this.#o, begun, BEGIN_MS_MAX, 'its disk requests did not come to rest');
    if (signal.aborted) return null;
    return sending(to, signal, async (sender) => {
      const copying = (percent: number): void => progress(percent, 'copying disks');
      if (!(await sendDisks(sender, images, have, copying))) return null;
      await shipping.flush();
      const { point } = ring.status();
      return {
        start: { entrance: shipping.shipFacts().end, point },
        pieces: sender.pieces,
        pauseMs: 0,
      };
    });
  }
}
