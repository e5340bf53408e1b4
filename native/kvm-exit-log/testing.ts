// SPDX-License-Identifier: Apache-2.0
/**
 * A door for tests and benchmarks: what the courier does, step by step and from JavaScript.
 * The product never opens it.
 */
import { ExitRing, RING_STATES, type RingState } from './index.ts';
import {
  type NativeEpochs,
  type NativeIntake,
  type NativeJournal,
  type NativeSimCourier,
  native,
} from './native.ts';

export { CourierWords } from './courier-words.ts';
export type { NativeIntake, NativeJournal, NativeSimCourier };

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

/** An epoch that was taken into an image. */
export interface TakenEpoch {
  readonly number: bigint;
  /** Ordinal of its CHECKPOINT record. */
  readonly ordinal: bigint;
  /** The image's, as QEMU computes it. */
  readonly ramDigest: bigint;
  /** That of CPU and devices, as they were shipped. */
  readonly devicesDigest: bigint;
  /** What came of it through the ring of state, and of that, of what the guest wrote to disks. */
  readonly bytes: number;
  readonly diskBytes: number;
}

/** struct exitlog_piece, and its data if it has any. */
export interface GivenPiece {
  readonly part: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly bytes: bigint;
  readonly epoch: bigint;
  readonly data: Uint8Array | null;
}

/** Puts pieces into the ring of state, as QEMU would; a courier finds all of them, or none. */
export function putPieces(ring: ExitRing, ...pieces: GivenPiece[]): void {
  native.testing.putPieces(
    ring.native,
    pieces.map(({ part, flags, offset, bytes, epoch, data }) => [
      BigUint64Array.of(BigInt(part), BigInt(flags), offset, bytes, epoch),
      data,
    ]),
  );
}

/** A disk journal step by step. */
export function openJournal(disks: readonly string[], durable: boolean): NativeJournal {
  return new native.testing.Journal(disks, durable);
}

/** What an image has to share with a QEMU that waits beside it. */
export interface SharedImage {
  /** Size of main memory. */
  readonly memoryBytes: number;
  /** Its disks, raw: equal to the VM's at power-on. */
  readonly disks: readonly string[];
}

/** A VM's epochs, taken into an image by hand. */
export class Epochs {
  readonly #native: NativeEpochs;
  readonly #words = new BigUint64Array(6);

  constructor(ring: ExitRing, { memoryBytes, disks }: SharedImage = { memoryBytes: 0, disks: [] }) {
    this.#native = new native.testing.Epochs(ring.native, memoryBytes, disks);
  }

  /** Main memory, for that QEMU to inherit. */
  get memoryFd(): number {
    return this.#native.memoryFd();
  }

  /** The file of `handOver`, for that QEMU to inherit as well. */
  get restFd(): number {
    return this.#native.restFd();
  }

  /** Drops what is of no whole epoch; the rest goes into the file. */
  handOver(): void {
    this.#native.handOver();
  }

  /** Nothing is taken any more. */
  close(): void {
    this.#native.close();
  }

  /** The next one that has its CHECKPOINT record; null: none has yet. */
  take(): TakenEpoch | null {
    if (!this.#native.take(this.#words)) return null;
    const [number = 0n, ordinal = 0n, ramDigest = 0n, bytes = 0n, ...more] = this.#words;
    const [diskBytes = 0n, devicesDigest = 0n] = more;
    const counts = { bytes: Number(bytes), diskBytes: Number(diskBytes) };
    return { number, ordinal, ramDigest, devicesDigest, ...counts };
  }

  /** The image's, after what was taken. */
  digest(): bigint {
    return this.#native.digest();
  }

  /** Names and lengths of the memory blocks. */
  blocks(): [string, number][] {
    return this.#native.facts();
  }
}

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

/** QEMU's half of a ring, for a simulated guest whose virtual time is twice its icount. */
export class GuestRing extends ExitRing {
  readonly #said = new BigUint64Array(6);
  readonly #seen = new BigUint64Array(9);

  /** A record into OUT. @returns its ordinal; null: no room */
  put(
    kind: number,
    icount: bigint,
    len: number,
    arg: bigint,
    payload?: Uint8Array,
    channel = 0,
  ): bigint | null {
    const ring = this.native;
    const ordinal = native.testing.guestPut(ring, kind, icount, len, arg, payload, channel);
    return ordinal < 0 ? null : BigInt(ordinal);
  }

  /** Records of IN up to there: ordinal, kind, icount. */
  take(icount: bigint): [bigint, number, bigint][] {
    return native.testing.guestTake(this.native, icount);
  }

  /** It has replayed all: its own log continues the one that it was given. */
  goesLive(): void {
    native.testing.guestGoesLive(this.native);
  }

  /** A live one has no record before `icount` that is not in OUT. */
  says(guest: {
    readonly state: RingState;
    readonly ended: boolean;
    readonly icount: bigint;
    readonly outputs: bigint;
    readonly released: bigint;
    readonly visits: bigint;
  }): void {
    const { state, ended, icount, outputs, released, visits } = guest;
    const words = [RING_STATES.indexOf(state), ended ? 2 : 0, icount, outputs, released, visits];
    for (const [place, word] of words.entries()) this.#said[place] = BigInt(word);
    native.testing.guestSays(this.native, this.#said);
  }

  /** What the daemon has put there for it. */
  sees() {
    native.testing.guestSees(this.native, this.#seen);
    const word = (place: number): bigint => this.#seen[place] ?? 0n;
    return {
      inHorizon: word(0),
      inPending: word(1) - word(2),
      /** Ordinal of OUT's next record, and offset of its next byte of payload. */
      outHead: word(3),
      outDataHead: word(4),
      outputsSent: word(5),
      commit: word(6),
      icountMax: word(7),
      control: Number(word(8)),
    };
  }
}

/** The native half of a courier without thread, files and socket; step by step. */
export function simCourier(ring: ExitRing): NativeSimCourier {
  return new native.testing.SimCourier(ring.native);
}

/** A piece of state as a frame; without data it is `bytes` zeros, as a patch it changes so many. */
export function stateFrame(piece: {
  readonly ordinal: bigint;
  readonly part: number;
  readonly offset: bigint;
  readonly bytes?: bigint;
  readonly data?: Uint8Array;
  readonly epoch?: bigint;
  readonly isPatch?: boolean;
  readonly isPacked?: boolean;
}): Buffer {
  const { ordinal, part, offset, bytes = 0n, data, epoch, isPatch, isPacked } = piece;
  return native.testing.stateFrame(ordinal, part, offset, bytes, data, epoch, isPatch, isPacked);
}

/** The patch that makes `before` what `now` is, as it is afterwards; whole pages. */
export function patchOf(before: Uint8Array, now: Uint8Array): Buffer {
  return native.testing.patchOf(before, now);
}

/** @returns no bytes where it would not become shorter */
export function pack(data: Uint8Array): Buffer {
  return native.testing.pack(data);
}

/** Throws ERR_LOG_CORRUPT for what is no patch of memory so long. */
export function applyPatch(memory: Uint8Array, patch: Uint8Array): void {
  native.testing.applyPatch(memory, patch);
}

/** The checks of a transfer's receiver, without files and link. `take` throws peer-protocol. */
export function intake(): NativeIntake {
  return new native.testing.Intake();
}
