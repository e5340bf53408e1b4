// SPDX-License-Identifier: Apache-2.0
/**
 * How fast a guest may log while there is little room for it (space.ts): in a while of
 * TAU_MS as much as there is room, so that it slows the more the less is left, and never
 * fills it. It never stops either: a checkpoint needs a position where nothing is half
 * done, and the guest runs up to one.
 */
import { advance, distance, type Point } from '../base/position.ts';

const TAU_MS = 2000;
/** A longer time between two looks allows no more than this one. */
const TICK_MS_MAX = 200;
/** Instructions in a tick whatever the room. */
const TRICKLE = 20_000;
/** The most bytes per instruction of the last ticks count; of a guest that logs nothing, this. */
const RATIO_MIN = 0.02;
const RATIO_TICKS = 10;

export interface PaceSample {
  readonly nowMs: number;
  readonly point: Point;
  /** Bytes of the log written since the VM started. */
  readonly logBytes: number;
}

export class SpacePace {
  #last: PaceSample | null = null;
  #ratios: number[] = [];
  #room = Number.POSITIVE_INFINITY;
  #comfort = 0;
  #logBytesThen = 0;

  /** What SpacePolicy found when the log had `logBytes`. */
  set(room: number, comfort: number, logBytes: number): void {
    this.#room = room;
    this.#comfort = comfort;
    this.#logBytesThen = logBytes;
  }

  /** What is left of the room, by now. */
  roomAt(logBytes: number): number {
    return this.#room - Math.max(0, logBytes - this.#logBytesThen);
  }

  /** Where the vCPU is to wait; null: nowhere. */
  bound(sample: PaceSample): Point | null {
    const ms = Math.min(TICK_MS_MAX, sample.nowMs - (this.#last?.nowMs ?? sample.nowMs));
    this.#measure(sample);
    const room = this.roomAt(sample.logBytes);
    if (room >= this.#comfort) return null;
    const bytes = (Math.max(0, room) * ms) / TAU_MS;
    const instructions = bytes / Math.max(RATIO_MIN, ...this.#ratios);
    return advance(sample.point, BigInt(Math.round(Math.max(TRICKLE, instructions))));
  }

  #measure(sample: PaceSample): void {
    const { point, logBytes } = this.#last ?? sample;
    this.#last = sample;
    const instructions = Number(distance(point, sample.point));
    if (instructions <= 0) return;
    this.#ratios.push((sample.logBytes - logBytes) / instructions);
    if (this.#ratios.length > RATIO_TICKS) this.#ratios.shift();
  }
}
