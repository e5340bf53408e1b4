// SPDX-License-Identifier: Apache-2.0
/**
 * The machines of one debugger. A machine only runs forward, so going back is another
 * machine, from the nearest checkpoint: one is kept started, since that is half the time.
 */
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Recording } from '../record/recording.ts';
import { findStart, type StartPoint } from '../replay/checkpoint-start.ts';
import { listCheckpoints } from '../replay/checkpoints.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { Machine } from './machine.ts';
import { type Place, placeAt } from './place.ts';

export interface PoolOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  readonly starts: Starts;
}

/** Where machines can start. Shared by all debuggers: a checkpoint is verified once. */
export class Starts {
  readonly #recording: Recording;
  readonly #onWarning: (text: string) => void;
  readonly #icounts: readonly bigint[];
  readonly #known = new Map<bigint, Promise<StartPoint | null>>();

  constructor(recording: Recording, onWarning: (text: string) => void) {
    this.#recording = recording;
    this.#onWarning = onWarning;
    this.#icounts = listCheckpoints(recording.paths.checkpoints);
  }

  /** The nearest at or before; null: power-on. */
  at(icount: bigint): Promise<StartPoint | null> {
    const newest = this.#icounts.filter((at) => at <= icount).at(-1);
    if (newest === undefined) return Promise.resolve(null);
    let start = this.#known.get(newest);
    if (start === undefined) {
      start = findStart(this.#recording, newest, this.#onWarning);
      this.#known.set(newest, start);
    }
    return start;
  }
}

/** Prepared this far before where the debugger is: a step back from there is at hand. */
const AHEAD = 20_000n;

interface Spare {
  readonly machine: Promise<Machine>;
  /** Where it stands or will soon; it may be used only from there on. */
  readonly at: bigint;
}

export class Pool {
  readonly #options: PoolOptions;
  #spare: Spare | null = null;
  readonly #alive = new Set<Promise<Machine>>();
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** A machine that stands at the nearest start at or before `icount`. */
  async fresh(icount: bigint): Promise<Machine> {
    const start = await this.#options.starts.at(icount);
    const at = start?.icount ?? 0n;
    const spare = this.#spare;
    if (spare !== null && spare.at === at) return this.#takeSpare(spare);
    return this.#start(start);
  }

  /** A machine that stands at `place`. */
  async at(place: Place): Promise<Machine> {
    const spare = this.#spare;
    const start = await this.#options.starts.at(place.icount);
    const near = spare !== null && spare.at <= place.icount && spare.at >= (start?.icount ?? 0n);
    const machine = near ? await this.#takeSpare(spare) : await this.#start(start);
    await machine.run('pass', place);
    return machine;
  }

  /** icount of the start from which a machine would get there. */
  async startOf(place: Place): Promise<bigint> {
    return (await this.#options.starts.at(place.icount))?.icount ?? 0n;
  }

  /** Makes one ready, in the background, for places before this one. */
  prepare(before: Place): void {
    if (this.#closed || this.#spare !== null) return;
    void this.#prepare(before).catch(() => {
      this.#spare = null; // whoever needs one starts one, and is told why that fails
    });
  }

  async #prepare(before: Place): Promise<void> {
    const start = await this.#options.starts.at(before.icount - 1n);
    const begin = start?.icount ?? 0n;
    const at = before.icount - AHEAD > begin ? before.icount - AHEAD : begin;
    if (this.#closed || this.#spare !== null) return;
    const machine = this.#start(start).then(async (started) => {
      if (at > begin) await started.run('pass', placeAt(at));
      return started;
    });
    machine.catch(() => {});
    this.#spare = { machine, at };
  }

  /** What is no longer needed. */
  async release(machine: Machine): Promise<void> {
    await machine.kill();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#alive].map(async (machine) => (await machine).kill()));
  }

  #takeSpare(spare: Spare): Promise<Machine> {
    this.#spare = null;
    return spare.machine;
  }

  #start(start: StartPoint | null): Promise<Machine> {
    const { recording, qemu, logger } = this.#options;
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
