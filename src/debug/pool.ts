// SPDX-License-Identifier: Apache-2.0
/**
 * The machines of one debugger. A machine only runs forward, so going back is another
 * machine, from the nearest checkpoint: one is kept started, shortly before the place
 * where the debugger is, so that a step back is at hand.
 */
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ChainStart } from '../checkpoint/start.ts';
import type { Recording } from '../recording/folder.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { Machine } from './machine.ts';
import { type Place, placeAt, type Stop, startBefore } from './place.ts';
import type { Starts } from './starts.ts';

export interface PoolOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  readonly starts: Starts;
}

/** The spare machine waits so many instructions before the place. */
const AHEAD = 20_000n;

interface Spare {
  readonly machine: Promise<Machine>;
  /** Resolves when it stands at `at`, or was told to stop on the way. */
  readonly ready: Promise<unknown>;
  readonly at: bigint;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #alive = new Set<Promise<Machine>>();
  #spare: Spare | null = null;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** A machine that stands at the nearest start at or before `icount`. */
  async fresh(icount: bigint): Promise<Machine> {
    return this.#start(await this.#options.starts.at(icount));
  }

  /**
   * A machine that stands at `place`, and how it got there; null: it was not to go on.
   * @param onMoving told which one will move, to be paused; false: it is not to
   */
  async at(
    place: Place,
    onMoving: (machine: Machine) => boolean = () => true,
  ): Promise<{ machine: Machine; stop: Stop } | null> {
    const latest = startBefore(place);
    const start = await this.#options.starts.at(latest);
    const spare = this.#spare;
    const useful = spare !== null && spare.at <= latest && spare.at >= (start?.icount ?? 0n);
    if (useful) this.#spare = null;
    const machine = useful ? await spare.machine : await this.#start(start);
    if (onMoving(machine)) {
      if (useful) await spare.ready;
      if (machine.last?.reason !== 'pause') {
        const stop = await machine.run('pass', place);
        if (stop.reason !== 'pause') return { machine, stop };
      }
    }
    await this.release(machine);
    return null;
  }

  /** icount of the start from which a machine would get there. */
  async startOf(place: Place): Promise<bigint> {
    return (await this.#options.starts.at(startBefore(place)))?.icount ?? 0n;
  }

  /** Makes the spare one ready, in the background, for places before this one. */
  prepare(before: Place): void {
    void this.#prepare(before).catch(() => {
      this.#spare = null; // whoever needs one starts one, and is told why that fails
    });
  }

  async #prepare(before: Place): Promise<void> {
    const start = await this.#options.starts.at(before.icount - 1n);
    // Nothing is before where a recording begins.
    if (before.icount === 0n || (start === null && this.#options.recording.retained !== null))
      return;
    const begin = start?.icount ?? 0n;
    const at = before.icount - AHEAD > begin ? before.icount - AHEAD : begin;
    const old = this.#spare;
    if (this.#closed || (old !== null && old.at >= begin && old.at < before.icount)) return;
    const machine = this.#start(start);
    const ready = machine.then((started) => started.run('pass', placeAt(at)));
    ready.catch(() => {}); // told below, or to whoever takes it
    this.#spare = { machine, ready, at };
    if (old !== null) await this.release(await old.machine);
    await ready;
  }

  /** One machine has died: the spare is not trusted either. */
  async forgetSpare(): Promise<void> {
    const spare = this.#spare;
    this.#spare = null;
    if (spare !== null) await this.release(await spare.machine);
  }

  /** What is no longer needed. */
  async release(machine: Machine): Promise<void> {
    await machine.kill();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#alive].map(async (machine) => (await machine).kill()));
  }

  #start(start: ChainStart | null): Promise<Machine> {
    const { recording, qemu, logger } = this.#options;
    if (this.#closed) return Promise.reject(new Error('the debugger has gone'));
    if (start === null && recording.retained !== null) {
      const what = `${recording.paths.dir}: no checkpoint from where it begins is whole`;
      return Promise.reject(new UnderstudyError('log-corrupt', what));
    }
    const machine = Machine.start({ recording, qemu, logger, start });
    this.#alive.add(machine);
    const forget = (): void => {
      this.#alive.delete(machine);
    };
    machine.then(({ ended }) => ended.then(forget), forget);
    return machine;
  }
}
