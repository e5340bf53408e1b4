// SPDX-License-Identifier: Apache-2.0
/**
 * Host time of a position. A log has it once a batch, when it was sealed; between
 * two seals it is interpolated by guest time.
 */
import type { BatchHeader } from '../log/batch.ts';

/** An origin further from the first seal than this is of another clock. */
const ORIGIN_NS_MAX = 60_000_000_000n;

export class HostClock {
  /** CLOCK_REALTIME, ns, of host time 0. */
  epochNs = 0n;
  /** Times that a seal was earlier than the one before. */
  setBack = 0;
  /** Between these two seals, ns since the epoch. */
  #fromVtimeNs = 0;
  #fromHostNs = 0;
  #toVtimeNs = 0;
  #toHostNs = 0;
  /** Host time at guest time 0, ns since the epoch. */
  #originNs: number | null = null;

  /**
   * @param isWhole the log begins at power-on
   * @param origin CLOCK_REALTIME, ns, at guest time 0, where the log begins with it
   */
  begin(header: BatchHeader, isWhole: boolean, origin: bigint | null): void {
    const { sealedAtNs } = header;
    const isSane = origin !== null && origin <= sealedAtNs && sealedAtNs - origin < ORIGIN_NS_MAX;
    this.epochNs = isWhole && isSane ? origin : sealedAtNs;
    if (!isWhole || !isSane) this.jump(header);
  }

  /** Nothing is known of what was before this batch. */
  jump(header: BatchHeader): void {
    const hostNs = this.#sinceEpoch(header);
    this.#fromVtimeNs = Number(header.horizon.vtimeNs);
    this.#fromHostNs = Math.max(this.#toHostNs, hostNs);
    this.#toVtimeNs = this.#fromVtimeNs;
    this.#toHostNs = this.#fromHostNs;
  }

  /** The next batch, before its records. */
  seal(header: BatchHeader): void {
    this.#fromVtimeNs = this.#toVtimeNs;
    this.#fromHostNs = this.#toHostNs;
    const hostNs = this.#sinceEpoch(header);
    if (hostNs < this.#toHostNs) this.setBack += 1;
    this.#toHostNs = Math.max(this.#toHostNs, hostNs);
    this.#toVtimeNs = Math.max(this.#toVtimeNs, Number(header.horizon.vtimeNs));
  }

  /** @param ns CLOCK_REALTIME at guest time 0 */
  origin(ns: number): void {
    this.#originNs = ns - Number(this.epochNs);
  }

  /** ns since the epoch. */
  at(vtimeNs: number): number {
    const spanNs = this.#toVtimeNs - this.#fromVtimeNs;
    const share = spanNs > 0 ? (vtimeNs - this.#fromVtimeNs) / spanNs : 1;
    const clamped = Math.min(1, Math.max(0, share));
    return Math.round(this.#fromHostNs + clamped * (this.#toHostNs - this.#fromHostNs));
  }

  /** Host time minus guest time at the newest seal; null while the origin is not known. */
  behindNs(vtimeNs: number): number | null {
    return this.#originNs === null ? null : this.#toHostNs - this.#originNs - vtimeNs;
  }

  #sinceEpoch(header: BatchHeader): number {
    return Number(header.sealedAtNs - this.epochNs);
  }
}
