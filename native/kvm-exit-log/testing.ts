// SPDX-License-Identifier: Apache-2.0
/**
 * A door for tests and benchmarks: what the courier does, step by step and from JavaScript.
 * The product never opens it.
 */
import { ExitRing } from './index.ts';
import { native } from './native.ts';

/** A header's fields that the ring does not know. */
export interface SealHeader {
  /** 16 bytes. */
  readonly vmId: Uint8Array;
  readonly term: number;
  readonly sequence: bigint;
  /** CLOCK_REALTIME, ns. */
  readonly sealedAtNs: bigint;
  /** `lastSeal().checksum` of the batch before; 0n for sequence 0. */
  readonly prevChecksum: bigint;
}

/** The batch that `seal` wrote last. */
export interface LastSeal {
  readonly records: number;
  readonly dataBytes: number;
  readonly firstIcount: bigint;
  readonly lastIcount: bigint;
  readonly horizonIcount: bigint;
  readonly horizonVtimeNs: bigint;
  /** Ordinal after its last record: what `commit` takes when it is acknowledged. */
  readonly recordEnd: bigint;
  /** NET_OUT, CHAR_OUT and END records in it: somebody waits for its ack. */
  readonly outputs: number;
  readonly charOutBytes: number;
  /** It has the END record. */
  readonly ended: boolean;
  /** headerChecksum xor bodyChecksum: the next batch's `prevChecksum`. */
  readonly checksum: bigint;
}

/** Bytes that the largest batch needs: `seal` always fits in a buffer of this size. */
export const BATCH_FRAME_BYTES_MAX: number = native.testing.batchFrameBytesMax;

/** A ring that is sealed and committed by hand; all of it throws ERR_RING_STATE beside a courier. */
export class TestRing extends ExitRing {
  /**
   * Steps 2 and 3: the horizon and the records in OUT, at most 4096 and 1 MiB of
   * payload, as one frame at `into[offset]`.
   * @returns bytes written, or 0 if there is nothing new
   * @throws RangeError if it does not fit (OUT is as before), ERR_RING_CORRUPT if
   *   QEMU broke a rule of the log
   */
  seal(into: Uint8Array, offset: number, header: SealHeader): number {
    return native.testing.seal(this.native, into, offset, header);
  }

  lastSeal(): LastSeal {
    return native.testing.lastSeal(this.native);
  }

  /** Records in OUT that are not sealed yet. */
  outPending(): number {
    return native.testing.outPending(this.native);
  }

  /**
   * Step 8: outputs whose record is before this ordinal may leave. RangeError if it
   * is before the last one or after what was sealed.
   */
  commit(recordEnd: bigint): void {
    native.testing.commit(this.native, recordEnd);
  }
}
