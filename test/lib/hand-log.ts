// SPDX-License-Identifier: Apache-2.0
/** The log of a running VM, taken and committed by hand: what no courier would hold back. */
import type { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { native } from '../../native/kvm-exit-log/native.ts';
import { BATCH_FRAME_BYTES_MAX } from '../../native/kvm-exit-log/testing.ts';
import { Batch, type LogRecord } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';

const VM_ID = Buffer.alloc(16, 0x5e);

export class HandLog {
  readonly records: LogRecord[] = [];
  /** What is taken is committed at once. */
  commits = true;
  /** All that the guest printed, whether it may be seen or not. */
  console = '';
  readonly #ring: ExitRing;
  readonly #frame = Buffer.alloc(BATCH_FRAME_BYTES_MAX);
  #sequence = 0n;
  #end = 0n;
  #committed = 0n;

  constructor(ring: ExitRing) {
    this.#ring = ring;
  }

  /** Takes what is there. */
  look(): void {
    const ring = this.#ring.native;
    for (;;) {
      const { checksum } = native.testing.lastSeal(ring);
      const bytes = native.testing.seal(ring, this.#frame, 0, {
        vmId: VM_ID,
        term: 1,
        sequence: this.#sequence,
        sealedAtNs: 0n,
        prevChecksum: this.#sequence === 0n ? 0n : checksum,
      });
      if (bytes === 0) break;
      this.#sequence++;
      this.#take(Batch.open(Buffer.from(this.#frame.subarray(0, bytes)), 0, bytes));
    }
    if (!this.commits || this.#committed === this.#end) return;
    this.#committed = this.#end;
    native.testing.commit(ring, this.#end);
  }

  #take(batch: Batch): void {
    for (const record of batch.records()) {
      this.records.push(record);
      this.#end = record.ordinal + 1n;
      if (record.kind !== KIND.CHAR_OUT || record.payload === null) continue;
      this.console += Buffer.from(record.payload).toString('latin1');
    }
  }
}
