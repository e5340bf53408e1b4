// SPDX-License-Identifier: Apache-2.0
/**
 * One started QEMU: its ring, its process, who holds its vCPU, and what is given back when
 * it has ended. Who carries its log is the caller's to attach: a courier, or a feed.
 */
import { ExitRing, type ExitRingOptions } from '../../native/kvm-exit-log/index.ts';
import type { Logger } from '../base/logger.ts';
import { Undo } from '../base/undo.ts';
import type { Origin } from '../log/entrance.ts';
import type { VmConfig } from './config.ts';
import { confinement } from './confinement.ts';
import { Holds } from './holds.ts';
import { type QemuArgsOptions, qemuArgs, tapsOf } from './qemu-args.ts';
import type { QemuBinary } from './qemu-binary.ts';
import { type ImageFds, type QemuExit, QemuProcess } from './qemu-process.ts';
import { openTaps } from './tap.ts';
import { hangTimeoutMs } from './watchdog.ts';

export interface MachineOptions {
  readonly config: VmConfig;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** The firmware's folder is by default the build's own. */
  readonly args: Omit<QemuArgsOptions, 'firmwareDir' | 'checkpoint' | 'image' | 'confinement'> & {
    readonly firmwareDir?: string;
  };
  /** What a replay starts from; null, the default: power-on. */
  readonly origin?: Origin | null;
  /** A replay that executes nothing, and waits beside this. */
  readonly image?: ImageFds;
  /** Sizes of its ring. */
  readonly ring?: ExitRingOptions;
  /** Told each line that QEMU says. */
  readonly onLine?: (line: string) => void;
  /** Default: that of a VM which nobody can take over. */
  readonly hangTimeoutMs?: number;
  /** What the caller has taken for it; default: nothing. */
  readonly undo?: Undo;
}

export class Machine {
  readonly ring: ExitRing;
  readonly holds: Holds;
  /** Resolves, never rejects, when QEMU has ended. */
  readonly exited: Promise<QemuExit>;
  /** Where what is attached to it is to be added; runs at its end. */
  readonly undo: Undo;
  readonly #process: QemuProcess;

  private constructor(ring: ExitRing, process: QemuProcess, undo: Undo) {
    let ended = false;
    this.ring = ring;
    this.holds = new Holds((bound) => {
      if (!ended) ring.setBound(bound);
    });
    this.exited = process.exited.then((exit) => {
      ring.setEnded();
      return exit;
    });
    this.undo = undo;
    this.#process = process;
    undo.add(async () => {
      ended = true;
      process.kill();
      await process.exited;
    });
  }

  /**
   * Starts QEMU. When it throws nothing is left, of what the caller has taken either.
   * @throws UnderstudyError qemu-missing | tap-in-use | tap-permission | host-unsupported
   */
  static async start(options: MachineOptions): Promise<Machine> {
    const { config, qemu, logger, args, origin = null, undo = new Undo() } = options;
    const taps = new Undo();
    try {
      const ring = new ExitRing(options.ring ?? {});
      undo.add(() => ring.destroy());
      if (origin !== null) ring.startAt(origin.entrance.recordBase, origin.entrance.dataBase);
      // QEMU's alone from here on: an open tap has a carrier, and QEMU's end is to take it.
      const tapFds = openTaps(tapsOf(config, args.net), taps);
      const process = await QemuProcess.spawn({
        binary: qemu.path,
        args: qemuArgs(config, {
          firmwareDir: qemu.firmwareDir,
          ...args,
          ...(origin === null ? {} : { checkpoint: origin.chain }),
          image: options.image !== undefined,
          confinement: confinement(),
        }),
        ring,
        taps: tapFds,
        ...(options.image === undefined ? {} : { image: options.image }),
        logger,
        ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
        hangTimeoutMs: options.hangTimeoutMs ?? hangTimeoutMs('alone'),
      });
      return new Machine(ring, process, undo);
    } catch (error) {
      await undo.run();
      throw error;
    } finally {
      await taps.run();
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** SIGKILL to this very process. Idempotent. */
  kill(): void {
    this.#process.kill();
  }

  /** No QEMU is left, and nothing that was taken for it. Idempotent. */
  end(): Promise<void> {
    return this.undo.run();
  }
}
