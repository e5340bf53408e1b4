// SPDX-License-Identifier: Apache-2.0
/**
 * The native boundary: nobody else imports the addon. Few verbs, typed exactly.
 *
 * Misuse throws TypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE) or
 * Error with a `code` (ERR_RING_DESTROYED, ERR_RING_STATE, ERR_RING_CORRUPT); bytes
 * that are no log of ours throw CorruptLogError. Nothing crashes the process.
 */

import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { errorCodeOf, messageOf } from '../../src/base/errors.ts';
import { atIcount, icountOf, type Point, type Position } from '../../src/base/position.ts';
import { eventMask, readEvents } from './events.ts';
import { type NativeRedone, type NativeRing, native } from './native.ts';
import { type EpochNumbers, RING_STATES, type RingStatus, type VmPlace } from './ring-words.ts';

export {
  Courier,
  type CourierEvents,
  type Limits,
  type LogStart,
  type ReceiveOptions,
  type ShipOptions,
} from './courier.ts';
export type { ReceiveStart, ShipFacts, ShipFrom } from './courier-words.ts';
export type { EventCounts } from './events.ts';
export { Image } from './image.ts';
export {
  Keys,
  type KeyTexts,
  Link,
  type LinkEvents,
  Listener,
  type Security,
} from './link.ts';
export {
  type QuorumEvents,
  type QuorumFacts,
  type QuorumOptions,
  QuorumReplica,
  type QuorumRole,
} from './quorum.ts';
export {
  type EpochNumbers,
  RING_STATES,
  type RingState,
  type RingStatus,
  type VmPlace,
} from './ring-words.ts';
export {
  type StateFailure,
  StateReceiver,
  type StateReceiverEvents,
  StateSender,
} from './state.ts';

export interface FrameInfo {
  /** FRAME in src/log/frame.ts. */
  readonly type: number;
  /** Bytes of the whole frame. */
  readonly bytes: number;
  readonly bodyOffset: number;
  readonly bodyBytes: number;
}

export interface ExitRingOptions {
  /** Power of two; default 65536. */
  readonly recordSlots?: number;
  /** Power of two; default 16 MiB. */
  readonly dataBytes?: number;
  /** Power of two: room for the state of epochs; default 0, there are none. */
  readonly stateBytes?: number;
}

/** Flags of `control`. */
export const CONTROL = { GO_LIVE: 1, DETACHED: 2, STOP: 4 } as const;

/** No bound. */
const ICOUNT_UNBOUNDED = 0xffff_ffff_ffff_ffffn;

function translate(error: unknown): unknown {
  const code = errorCodeOf(error);
  if (code === 'ERR_LOG_CORRUPT') return new CorruptLogError(messageOf(error));
  if (code === 'ERR_LOG_VERSION') return new CorruptLogError(messageOf(error), 'log-version');
  return error;
}

/**
 * The memory that one QEMU process shares with this one, and the two eventfds.
 * The ring of one QEMU process: counters start at power-on and there is no way back.
 */
export class ExitRing {
  readonly shmFd: number;
  readonly notifyFd: number;
  readonly wakeFd: number;
  readonly #ring: NativeRing;
  readonly #place = new BigUint64Array(3);

  /** Throws a system error (`code` as ENOMEM, EMFILE) if the memory cannot be had. */
  constructor(options: ExitRingOptions = {}) {
    const { recordSlots = 65536, dataBytes = 16 * 1024 * 1024, stateBytes = 0 } = options;
    this.#ring = new native.ExitRing(recordSlots, dataBytes, stateBytes);
    const { shmFd, notifyFd, wakeFd } = this.#ring.descriptors();
    this.shmFd = shmFd;
    this.notifyFd = notifyFd;
    this.wakeFd = wakeFd;
  }

  /**
   * Calls `cb` when QEMU has added to OUT or changed state, and within about 1 ms when
   * it has only moved the horizon or taken from IN. No wake-up is lost, and some calls
   * find nothing new. Replaces an earlier callback. Keeps the event loop alive until
   * `destroy`. ERR_RING_STATE, as for fill, while a courier works here.
   */
  onNotify(cb: () => void): void {
    this.#ring.onNotify(cb);
  }

  /**
   * Step 6: a batch's records into IN, then its horizon. Verifies the frame whole
   * and that it continues the last one; a refused batch leaves no trace.
   * @returns false if IN has no room for it now: try again when notified
   * @throws CorruptLogError; RangeError if the ring is smaller than the batch
   */
  fill(frame: Uint8Array, offset: number, length: number): boolean {
    try {
      return this.#ring.fill(frame, offset, length);
    } catch (error) {
      throw translate(error);
    }
  }

  /**
   * The first batch to fill is one whose first record and byte of payload have these
   * numbers: a replay from a checkpoint. Or that is where the log of a VM begins which goes
   * live from an image. Before QEMU starts, or in state `waiting`, else ERR_RING_STATE.
   */
  startAt(record: bigint, dataOffset: bigint): void {
    this.#ring.startAt(record, dataOffset);
  }

  /**
   * Tells a VM that waits beside an image where the primary is, as soon as that is known: by
   * what it hears it knows which time its guest's clock should show when it goes live.
   */
  hear({ point, vtimeNs }: Position): void {
    this.#ring.hear(icountOf(point), BigInt.asUintN(64, vtimeNs));
  }

  /**
   * Live VM: CHAR_IN with its payload, POWERDOWN or RESET, to be injected at the next
   * exact position. @returns false if IN has no room. ERR_RING_STATE while replaying or waiting.
   */
  command(kind: number, channel: number, payload?: Uint8Array): boolean {
    return this.#ring.command(kind, channel, payload);
  }

  /** Sets flags of CONTROL. */
  control(flag: number): void {
    this.#ring.control(flag);
  }

  /**
   * Takes flags back. Only DETACHED: from now on QEMU holds each packet that has not
   * left until `commit` covers it. RangeError for others.
   */
  clearControl(flag: number): void {
    this.#ring.clearControl(flag);
  }

  /**
   * Asks a live VM with `checkpoints` (src/vm/qemu-args.ts) for a mark of its disks:
   * the next checkpoint on request has every cluster that may be written after it. A
   * copy of the images begun after the answer, and that checkpoint, make the disks
   * whole.
   * @returns what `status().diskMarksDone` is at least when it is answered: soon, or
   *   when a VM that replays has gone live
   */
  requestDiskMark(): bigint {
    return this.#ring.requestDiskMark();
  }

  /**
   * Asks it for a checkpoint, at the next position where nothing is half done: a full
   * one, of the disks what was written since the last mark.
   * @returns what `status().checkpointsAnswered` is at least when it is written, and
   *   `checkpoint` its folder, or given up (`checkpointFailures` has grown)
   */
  requestCheckpoint(): bigint {
    return this.#ring.requestCheckpoint();
  }

  /**
   * Tells a VM whose checkpoints recur that the next one is due now, and full. If one
   * is being written it follows that one. Any full one of a later position answers this.
   */
  requestFullCheckpoint(): void {
    this.#ring.requestFullCheckpoint();
  }

  /**
   * The vCPU waits when it gets here, the nearest of what holds it (src/vm/holds.ts); null:
   * nowhere.
   */
  setBound(point: Point | null): void {
    this.#ring.setIcountMax(point === null ? ICOUNT_UNBOUNDED : icountOf(point));
  }

  setEpochs({ everyNs, packetNs, inFlight, digests, ...more }: EpochNumbers): void {
    const { events = [], pagesMax = 0, ioLog = false } = more;
    const when = [everyNs, packetNs, inFlight, Number(digests), eventMask(events)] as const;
    this.#ring.setEpochs(...when, ioLog, pagesMax);
  }

  /** The next epoch is the first one of an image that has nothing yet. See `epochStarts`. */
  beginEpochs(): bigint {
    return this.#ring.beginEpochs();
  }

  /** Its QEMU is gone: an epoch that was not whole by then never will be, and nobody waits for it. */
  setEnded(): void {
    this.#ring.setEnded();
  }

  status(): RingStatus {
    const { state, endReason, icount, icountMax, checkpointIcount, ...rest } = this.#ring.status();
    return {
      ...rest,
      point: atIcount(icount),
      bound: icountMax === ICOUNT_UNBOUNDED ? null : atIcount(icountMax),
      checkpoint: atIcount(checkpointIcount),
      events: readEvents(this.#ring),
      state: RING_STATES[state] ?? 'failed',
      endReason: endReason === 1 ? 'poweroff' : endReason === 2 ? 'stop' : null,
    };
  }

  /** What of `status()` is asked for all the time. */
  place(): VmPlace {
    this.#ring.place(this.#place);
    const [icount = 0n, vtimeNs = 0n, visits = 0n] = this.#place;
    return {
      position: { point: atIcount(icount), vtimeNs: BigInt.asIntN(64, vtimeNs) },
      visits,
    };
  }

  /** For Courier and testing.ts. */
  get native(): NativeRing {
    return this.#ring;
  }

  /** Unmaps and closes; ends a courier. Idempotent; every other call afterwards throws ERR_RING_DESTROYED. */
  destroy(): void {
    this.#ring.destroy();
  }
}

/**
 * Verifies one frame of any type: prefix, checksums, and of a batch its layout and
 * the rules of its records. All of it must be there: see `frameBytes` for streams.
 * @param available bytes of `buf` from `offset` that may be read
 */
export function checkFrame(buf: Uint8Array, offset: number, available: number): FrameInfo {
  try {
    const bytes = native.checkFrame(buf, offset, available);
    const type = (buf[offset + 4] ?? 0) | ((buf[offset + 5] ?? 0) << 8);
    return { type, bytes, bodyOffset: offset + 16, bodyBytes: bytes - 16 };
  } catch (error) {
    throw translate(error);
  }
}

/** Writes a control frame's checksum and crc in place. For src/log/frame.ts. */
export function sealControlFrame(frame: Uint8Array): void {
  try {
    native.sealControl(frame);
  } catch (error) {
    throw translate(error);
  }
}

/** Serial ports, as CHAR_IN and CHAR_OUT name them (their channel): enum exitlog_console. */
export const CONSOLE = { people: 0, guard: 1 } as const;

/** What a batch carries of a serial port's output, joined; of one or of all. */
export function charOut(
  frame: Uint8Array,
  offset: number,
  length: number,
  channel: number | 'all' = CONSOLE.people,
): Buffer {
  try {
    return native.charOut(frame, offset, length, channel === 'all' ? -1 : channel);
  } catch (error) {
    throw translate(error);
  }
}

export function xxh64(data: Uint8Array, seed = 0n): bigint {
  return native.xxh64(data, seed);
}

/**
 * Disks that a backup wrote epoch by epoch, brought to an epoch if it died between two. In the
 * order in which it had them.
 * @returns null: there is no journal beside them
 * @throws CorruptLogError for a journal that is damaged, of other disks, or of no use after a
 *   crash of the host; a system error
 */
export function redoDisks(images: readonly string[]): NativeRedone | null {
  try {
    return native.redoDisks(images);
  } catch (error) {
    throw translate(error);
  }
}

/**
 * A tap, opened with `vnet_hdr`: it has a carrier as long as a process has the descriptor,
 * which is the caller's to close. Throws a system error (`code`): EBUSY where another process
 * has it, EPERM where this user may not.
 */
export function openTap(name: string): number {
  return native.openTap(name);
}

/**
 * Hash of a file or block device, off the main thread; holes are not read. Rejects
 * with a system error (`code`, `path`).
 */
export function hashFile(path: string): Promise<{ xxh64: bigint; bytes: number }> {
  return native.hashFile(path);
}

/**
 * XXH64 (seed 0) of each block of a file or block device, in order, off the main
 * thread; the last block ends with the file. Holes are not read. Another process may
 * write to the file meanwhile: each block is hashed as it was when it was read. Rejects
 * as `hashFile` does, with EIO if the file shrinks.
 * @param blockBytes a multiple of 4096, at most 1 MiB; else ERR_OUT_OF_RANGE
 */
export function hashBlocks(path: string, blockBytes: number): Promise<BigUint64Array> {
  return native.hashBlocks(path, blockBytes);
}

/**
 * Writes what a checkpoint has of a disk (its file "diskN") over a copy of the image, off
 * the main thread and in a few MB of memory.
 * @throws CorruptLogError when the file is none, or of another version; a system error
 *   (`code` as ENOSPC) when it cannot be read or the image cannot be written
 */
export async function applyDisk(file: string, image: string): Promise<void> {
  try {
    await native.applyDisk(file, image);
  } catch (error) {
    throw translate(error);
  }
}

/**
 * Whether something keeps this host's clock right, as the kernel was told; null where it does
 * not say. `errorMs`: by how much it may be off, if it is synchronised.
 */
export function hostClock(): { readonly synchronised: boolean; readonly errorMs: number } | null {
  return native.hostClock();
}

/**
 * Makes a range of an open file zero: a hole where the file system can, else zeros are
 * written over what is data. The file does not grow by a hole.
 * @throws a system error (`code` as ENOSPC)
 */
export function zeroRange(fd: number, offset: number, bytes: number): void {
  native.zeroRange(fd, offset, bytes);
}

/**
 * What of the first `bytes` of an open file is no hole: [from, to), in order; all of it,
 * where the file system has no holes. Holes read as zeros, and so may what is none.
 */
export function dataRanges(fd: number, bytes: number): { from: number; to: number }[] {
  const edges = native.dataRanges(fd, bytes);
  return Array.from({ length: edges.length / 2 }, (_, index) => ({
    from: edges[2 * index] ?? 0,
    to: edges[2 * index + 1] ?? 0,
  }));
}
