// SPDX-License-Identifier: Apache-2.0
/**
 * One replaying QEMU that a debugger looks at, which gdb calls an inferior: it runs from
 * its start to where it is told, on private copies of the disks, and never back. The
 * recording is only read.
 */
import { join } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { keyOf, POWER_ON } from '../base/position.ts';
import { Undo } from '../base/undo.ts';
import { applyDisks, type ChainStart, originOf } from '../checkpoint/start.ts';
import { divergenceError } from '../log/divergence.ts';
import { LogReader } from '../log/log-reader.ts';
import type { Recording } from '../recording/folder.ts';
import { firmwareDirOf } from '../replay/firmware.ts';
import { Scratch } from '../replay/scratch.ts';
import { Feed } from '../vm/feed.ts';
import { Machine } from '../vm/machine.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { comparePlaces, type Place, parseStop, placeAt, type Stop } from './place.ts';
import { Stub } from './stub.ts';
import { type Aim, aimText } from './watch.ts';

export interface InferiorOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Null: power-on. */
  readonly start: ChainStart | null;
}

/** What a run does at break- and watchpoints. */
export type RunMode = 'stop' | 'list' | 'pass';

export class Inferior {
  /** Where it stands, or began to run. */
  place: Place;
  /** Resolves when its QEMU is gone, and what it used. */
  readonly ended: Promise<void>;
  /** How its last run ended. */
  last: Stop | null = null;
  /** Break- and watchpoints that QEMU knows of: `TYPE,ADDRESS,LENGTH`. */
  readonly #points = new Set<string>();
  /** What QEMU was told last of where watchpoints are in physical memory. */
  #physical = '';
  readonly #options: InferiorOptions;
  readonly #scratch: Scratch;
  readonly #machine: Machine;
  readonly #stub: Stub;
  #failure: unknown = null;

  private constructor(options: InferiorOptions, scratch: Scratch, machine: Machine, stub: Stub) {
    this.#options = options;
    this.#scratch = scratch;
    this.#machine = machine;
    this.#stub = stub;
    this.place = placeAt(options.start?.point ?? POWER_ON.point);
    machine.undo.add(() => stub.close());
    const from = options.start?.entrance ?? null;
    const feed = new Feed({ ring: machine.ring, log: logOf(options), from });
    machine.undo.add(() => feed.close());
    feed.done.catch((error: unknown) => {
      this.#failure = error;
      machine.kill();
    });
    this.ended = machine.exited.then(() => machine.end());
  }

  /** Starts it; it stands before its first instruction. */
  static async start(options: InferiorOptions): Promise<Inferior> {
    const { recording, qemu, logger, start } = options;
    const scratch = Scratch.make('debug');
    const undo = new Undo();
    undo.add(() => scratch.end());
    let machine: Machine | null = null;
    try {
      const images = await scratch.copies(recording.config.disks.map(({ image }) => image));
      if (start !== null) await applyDisks(start.chain, images);
      const socket = join(scratch.dir, 'gdb');
      machine = await Machine.start({
        config: recording.config,
        qemu,
        logger,
        args: {
          mode: 'replay',
          rtcBase: recording.manifest.rtc_base,
          firmwareDir: firmwareDirOf(recording, qemu),
          net: 'none',
          diskImages: images,
          debugSocket: socket,
        },
        origin: start === null ? null : originOf(start, scratch.dir),
        undo,
      });
      let ended = false;
      void machine.exited.then(() => {
        ended = true;
      });
      const stub = await Stub.connect(socket, () => ended);
      return new Inferior(options, scratch, machine, stub);
    } catch (error) {
      machine?.kill();
      const exit = await machine?.exited;
      await undo.run();
      throw scratch.explain(exit?.error ?? error);
    }
  }

  /** Runs to a place, which must not be before where it is. */
  async run(mode: RunMode, to: Place): Promise<Stop> {
    if (comparePlaces(to, this.place) < 0) throw new Error('an inferior does not run back');
    const text = await this.#ask(`QUnderstudy.run:${mode},${keyOf(to.point)},${to.phase}`);
    const stop = parseStop(text);
    this.place = stop.place;
    this.last = stop;
    return stop;
  }

  /**
   * Makes these its break- and watchpoints.
   * @param physical where those for what devices write are in physical memory
   */
  async setPoints(wanted: ReadonlySet<string>, physical: readonly Aim[] = []): Promise<void> {
    for (const point of [...this.#points].filter((old) => !wanted.has(old))) {
      await this.ask(`z${point}`);
      this.#points.delete(point);
    }
    for (const point of wanted) {
      if (this.#points.has(point)) continue;
      const answer = await this.ask(`Z${point}`);
      if (answer !== 'OK') throw new Error(`QEMU does not take Z${point}: ${answer}`);
      this.#points.add(point);
    }
    const text = aimText(physical);
    if (text === this.#physical) return;
    const answer = await this.ask(`QUnderstudy.physical:${text}`);
    if (answer !== 'OK') throw new Error(`QEMU does not take where to watch: ${answer}`);
    this.#physical = text;
  }

  /** An address of the current vCPU as a physical one; null: nothing is there. */
  async translate(address: bigint): Promise<bigint | null> {
    const answer = await this.ask(`QUnderstudy.translate:${address.toString(16)}`);
    const [, hex] = /^Understudy:([0-9a-f]+)$/.exec(answer) ?? [];
    return hex === undefined || answer === 'Understudy:none' ? null : BigInt(`0x${hex}`);
  }

  /** Ends a run where it is. */
  pause(): void {
    this.#stub.tell('QUnderstudy.pause');
  }

  /** What QEMU's own gdbstub says, while the guest stands still. */
  ask(packet: string, onOutput: ((hex: string) => void) | null = null): Promise<string> {
    return this.#ask(packet, onOutput);
  }

  async #ask(packet: string, onOutput: ((hex: string) => void) | null = null): Promise<string> {
    try {
      return await this.#stub.ask(packet, onOutput);
    } catch {
      throw await this.#whyGone();
    }
  }

  /** Idempotent. */
  async kill(): Promise<void> {
    this.#machine.kill();
    await this.ended;
  }

  async #whyGone(): Promise<unknown> {
    const exit = await this.#machine.exited;
    if (this.#failure !== null) return this.#failure;
    if (exit.reason === 'diverged') {
      return divergenceError(exit.shmError || exit.stderr, this.#options.recording.paths.log);
    }
    const died = new UnderstudyError('qemu-died', 'QEMU ended while it was debugged');
    return this.#scratch.explain(exit.error ?? died);
  }
}

/** The log, from the file in which it is entered. */
function logOf({ recording, start }: InferiorOptions): LogReader {
  return new LogReader(recording.paths.log, {
    vmId: Buffer.from(recording.manifest.vm_id, 'hex'),
    tail: recording.end === null ? 'torn' : 'whole',
    fromIndex: start?.entrance.segment ?? recording.retained?.fromSegment ?? 1,
  });
}
