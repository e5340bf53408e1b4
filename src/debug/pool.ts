// SPDX-License-Identifier: Apache-2.0
/**
 * The inferiors of one debugger. An inferior only runs forward, so going back is another
 * inferior, from the nearest checkpoint: one is kept started, shortly before the place
 * where the debugger is, so that a step back is at hand.
 */
import type { Logger } from '../base/logger.ts';
import {
  advance,
  comparePoints,
  type Instructions,
  POWER_ON,
  type Point,
  samePoint,
} from '../base/position.ts';
import { type ChainStart, noStart } from '../checkpoint/start.ts';
import type { Recording } from '../recording/folder.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { Inferior } from './inferior.ts';
import { type Place, placeAt, type Stop, startBefore } from './place.ts';
import type { Starts } from './starts.ts';

export interface PoolOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  readonly starts: Starts;
}

/** How far before the place the spare inferior waits. */
const AHEAD: Instructions = 20_000n;

interface Spare {
  readonly inferior: Promise<Inferior>;
  /** Resolves when it stands at `at`, or was told to stop on the way. */
  readonly ready: Promise<unknown>;
  readonly at: Point;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #alive = new Set<Promise<Inferior>>();
  #spare: Spare | null = null;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** An inferior that stands at the nearest start at or before `point`. */
  async fresh(point: Point): Promise<Inferior> {
    return this.#start(await this.#options.starts.at(point));
  }

  /**
   * An inferior that stands at `place`, and how it got there; null: it was not to go on.
   * @param onMoving told which one will move, to be paused; false: it is not to
   */
  async at(
    place: Place,
    onMoving: (inferior: Inferior) => boolean = () => true,
  ): Promise<{ inferior: Inferior; stop: Stop } | null> {
    const latest = startBefore(place);
    const start = await this.#options.starts.at(latest);
    const spare = this.#spare;
    const useful =
      spare !== null &&
      comparePoints(spare.at, latest) <= 0 &&
      comparePoints(spare.at, pointOf(start)) >= 0;
    if (useful) this.#spare = null;
    const inferior = useful ? await spare.inferior : await this.#start(start);
    if (onMoving(inferior)) {
      if (useful) await spare.ready;
      if (inferior.last?.reason !== 'pause') {
        const stop = await inferior.run('pass', place);
        if (stop.reason !== 'pause') return { inferior, stop };
      }
    }
    await this.release(inferior);
    return null;
  }

  /** The start from which an inferior would get there. */
  async startOf(place: Place): Promise<Point> {
    return pointOf(await this.#options.starts.at(startBefore(place)));
  }

  /** Makes the spare one ready, in the background, for places before this one. */
  prepare(before: Place): void {
    void this.#prepare(before).catch(() => {
      this.#spare = null; // whoever needs one starts one, and is told why that fails
    });
  }

  async #prepare(before: Place): Promise<void> {
    const start = await this.#options.starts.at(advance(before.point, -1n));
    // Nothing is before where a recording begins.
    const isPowerOn = samePoint(before.point, POWER_ON.point);
    if (isPowerOn || (start === null && this.#options.recording.retained !== null)) return;
    const begin = pointOf(start);
    const ahead = advance(before.point, -AHEAD);
    const at = comparePoints(ahead, begin) > 0 ? ahead : begin;
    const old = this.#spare;
    const isReady =
      old !== null && comparePoints(old.at, begin) >= 0 && comparePoints(old.at, before.point) < 0;
    if (this.#closed || isReady) return;
    const inferior = this.#start(start);
    const ready = inferior.then((started) => started.run('pass', placeAt(at)));
    ready.catch(() => {}); // told below, or to whoever takes it
    this.#spare = { inferior, ready, at };
    if (old !== null) await this.release(await old.inferior);
    await ready;
  }

  /** One inferior has died: the spare is not trusted either. */
  async forgetSpare(): Promise<void> {
    const spare = this.#spare;
    this.#spare = null;
    if (spare !== null) await this.release(await spare.inferior);
  }

  /** What is no longer needed. */
  async release(inferior: Inferior): Promise<void> {
    await inferior.kill();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#alive].map(async (inferior) => (await inferior).kill()));
  }

  #start(start: ChainStart | null): Promise<Inferior> {
    const { recording, qemu, logger } = this.#options;
    if (this.#closed) return Promise.reject(new Error('the debugger has gone'));
    if (start === null && recording.retained !== null) {
      return Promise.reject(noStart(recording.paths, recording.retained.from));
    }
    const inferior = Inferior.start({ recording, qemu, logger, start });
    this.#alive.add(inferior);
    const forget = (): void => {
      this.#alive.delete(inferior);
    };
    inferior.then(({ ended }) => ended.then(forget), forget);
    return inferior;
  }
}

function pointOf(start: ChainStart | null): Point {
  return start?.point ?? POWER_ON.point;
}
