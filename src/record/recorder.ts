// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy record`: a VM on the user's own images, its exit log into a folder.
 *
 * Promise: nothing the guest says, to the network or to the console, leaves
 * before the log that explains it is written. If a write fails nothing leaves
 * any more: the VM stalls and is ended, and the recording up to there is good.
 */
import { closeSync, existsSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL, Courier, type CourierEvents } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { UnderstudyError, writeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { formatPosition, type Position } from '../base/position.ts';
import { Undo } from '../base/undo.ts';
import { RECORDER } from '../epochs/lockstep.ts';
import { readLogEnd } from '../log/log-end.ts';
import { LogFile, logError } from '../log/log-file.ts';
import {
  createRecording,
  type EndFacts,
  endJson,
  finishRecording,
  type Recording,
} from '../recording/folder.ts';
import { holdAsRecorder } from '../recording/lock.ts';
import type { RecordedVm } from '../retain/keeper.ts';
import type { RetainLimits } from '../retain/limits.ts';
import { type SpaceLimits, spaceWarning } from '../retain/space.ts';
import { Trimmer } from '../retain/trimmer.ts';
import { checkExact } from '../vm/accel/registry.ts';
import { type CheckpointNumbers, checkCheckpointable } from '../vm/checkpointing.ts';
import type { VmConfig } from '../vm/config.ts';
import { ConsoleInput } from '../vm/console-input.ts';
import { claimDisks, hashDisks } from '../vm/disk.ts';
import { settleDisks } from '../vm/disk-journal.ts';
import { describeDiskNews, diskNews, type OnDiskError } from '../vm/disk-news.ts';
import { Machine, type MachineOptions } from '../vm/machine.ts';
import { faultFromEnv } from '../vm/qemu-args.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import type { QemuExit } from '../vm/qemu-process.ts';
import { checkTaps } from '../vm/tap.ts';

export interface RecorderOptions {
  readonly config: VmConfig;
  /** The folder to make; must not exist, or be empty. */
  readonly out: string;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Console bytes, each covered by the log already. */
  readonly onConsole: (bytes: Buffer) => void;
  readonly onWarning: (text: string) => void;
  /** Instructions between two digests in the log; 0: only the one at the end. */
  readonly digestEvery: number;
  /** When checkpoints are made; null: none are. */
  readonly checkpoints: CheckpointNumbers | null;
  /** A write for which the host has no room: the guest hears of it, or (default) waits. */
  readonly onDiskError?: OnDiskError;
  /** What is kept of a recording that goes on; null: all of it. Needs checkpoints. */
  readonly retain?: RetainLimits | null;
}

/** A recording has one primary, its recorder. */
const TERM = 1;
/** With --retain the log goes in pieces, which are to be small against what is kept. */
const RETAINED_SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const RETAINED_SEGMENT_BYTES_MIN = 1024 * 1024;
const RETAINED_SEGMENTS = 16;
/** Typed input that may wait before its source is asked to pause. */
export const INPUT_QUEUE_BYTES_MAX = 64 * 1024;

export class Recorder {
  readonly recording: Recording;
  readonly input: ConsoleInput;
  /** Resolves when the VM has ended and the recording is whole; rejects otherwise. */
  readonly finished: Promise<EndFacts>;
  readonly #options: RecorderOptions;
  readonly #machine: Machine;
  readonly #courier: Courier;
  readonly #consoleFd: number;
  readonly #trimmer: Trimmer | null;
  readonly #startedMs = performance.now();
  #consoleBytes = 0;
  #failure: UnderstudyError | null = null;

  private constructor(
    options: RecorderOptions,
    parts: { recording: Recording; log: LogFile; consoleFd: number; machine: Machine },
  ) {
    const { ring, undo } = parts.machine;
    this.#options = options;
    this.recording = parts.recording;
    this.#machine = parts.machine;
    this.#consoleFd = parts.consoleFd;
    this.#courier = new Courier(ring, this.#events());
    undo.add(() => this.#courier.destroy());
    this.input = new ConsoleInput(ring);
    undo.add(() => this.input.close());
    this.#courier.ship({
      vmId: Buffer.from(parts.recording.manifest.vm_id, 'hex'),
      term: TERM,
      acksNeeded: RECORDER.commit,
      durable: false,
      seal: RECORDER.seal,
      log: parts.log.start,
    });
    this.#trimmer =
      options.retain == null
        ? null
        : new Trimmer(this.recording, options.retain, options.onWarning, {
            vm: this.#recordedVm(),
            space: spaceLimits(options),
          });
    undo.add(() => this.#trimmer?.stop());
    this.finished = this.#finish();
  }

  /**
   * Checks everything, makes the folder, starts the VM. Leaves no folder behind
   * when it throws.
   * @param aborted asked between the steps: whether to give up
   */
  static async start(options: RecorderOptions, aborted: () => boolean): Promise<Recorder> {
    const { config, qemu, logger } = options;
    checkExact(config, 'a recording');
    if (options.checkpoints !== null) checkCheckpointable(config);
    for (const warning of checkTaps(config)) options.onWarning(warning);
    const scarce = spaceWarning(options.retain?.bytes ?? null, config.memoryBytes);
    if (scarce !== null) options.onWarning(scarce);
    const undo = new Undo();
    const locks = claimDisks(config);
    undo.add(() => locks.release());
    const made: string[] = [];
    const proceed = (): void => {
      if (aborted()) throw new UnderstudyError('interrupted', 'interrupted before the VM started');
    };
    try {
      settleDisks(config, (event, text) => options.onWarning(`${event}: ${text}`), 'refuses');
      proceed();
      const recording = await createRecording(options.out, config, qemu, (dir) => made.push(dir));
      proceed();
      const { paths, manifest } = recording;
      const log = new LogFile(paths.log, {
        vmId: Buffer.from(manifest.vm_id, 'hex'),
        term: TERM,
        qemuBuildId: manifest.qemu.build_id,
        ...(options.retain == null ? {} : { segmentBytesMax: segmentBytesFor(options.retain) }),
      });
      undo.add(() => log.close());
      const consoleFd = openSync(paths.console, 'wx', 0o644);
      undo.add(() => closeSync(consoleFd));
      const hold = holdAsRecorder(paths);
      undo.add(() => hold.release());
      const machine = await Machine.start({
        config,
        qemu,
        logger,
        args: argsOf(options, recording),
        onLine: (line) => {
          // A checkpoint that failed is no error of the recording.
          const told = /exitlog: (checkpoint .*)/.exec(line)?.[1];
          if (told !== undefined) options.onWarning(told);
          const news = diskNews(line, config.disks);
          if (news !== null) options.onWarning(describeDiskNews(news));
        },
        undo,
      });
      return new Recorder(options, { recording, log, consoleFd, machine });
    } catch (error) {
      await undo.run();
      for (const dir of made) rmSync(dir, { recursive: true, force: true });
      proceed(); // Ctrl-C on a terminal also ends a copy in progress: that is no error of its own
      throw error;
    }
  }

  /** Ends the log at the next exact position, as Ctrl-C does. */
  stop(): void {
    this.#machine.ring.control(CONTROL.STOP);
  }

  /** Ends QEMU now: the recording stops wherever it is. */
  kill(): void {
    this.#machine.kill();
  }

  #recordedVm(): RecordedVm {
    return {
      facts: () => {
        const { point, checkpoints, checkpointFailures, fullCheckpointDue } =
          this.#machine.ring.status();
        return {
          point,
          isFullDue: fullCheckpointDue,
          logBytes: this.#courier.shipFacts().logBytes,
          checkpoints: Number(checkpoints),
          failures: Number(checkpointFailures),
        };
      },
      requestFull: () => this.#machine.ring.requestFullCheckpoint(),
      holds: this.#machine.holds,
    };
  }

  get position(): Position {
    const { point, vtimeNs } = this.#machine.ring.status();
    return { point, vtimeNs };
  }

  /** Steps 2, 3, 4 and 8 are the courier's; what is left are console bytes and failures. */
  #events(): CourierEvents {
    const unexpected = (): void => assert(false, 'a recorder has no peer');
    return {
      first: unexpected,
      logEnded: unexpected,
      diverged: unexpected,
      progress: unexpected,
      console: (bytes) => this.#releaseConsole(bytes),
      logFailed: (errno, path) => this.#fail(logError(errno, path)),
      broken: (message) => this.#fail(new UnderstudyError('qemu-failed', message)),
    };
  }

  #releaseConsole(bytes: Buffer): void {
    if (this.#failure !== null) return;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#consoleFd, bytes, at);
    } catch (cause) {
      this.#fail(writeError(this.recording.paths.console, cause));
      return;
    }
    this.#consoleBytes += bytes.length;
    this.#options.onConsole(bytes);
  }

  /** Nothing is committed any more, so nothing leaves; a VM without a log has no use. */
  #fail(failure: UnderstudyError): void {
    this.#failure ??= failure;
    this.#courier.closeGate();
    this.#options.logger.error({ err: this.#failure }, 'recording failed');
    this.#machine.kill();
  }

  async #finish(): Promise<EndFacts> {
    const { config, logger } = this.#options;
    try {
      const exit = await this.#machine.exited;
      await this.#courier.flush();
      const wallS = (performance.now() - this.#startedMs) / 1000;
      await this.#courier.close();
      await this.#trimmer?.close();
      removePartial(this.recording.paths.checkpoints);
      if (this.#failure !== null) throw this.#incomplete(this.#failure);
      if (exit.reason !== 'ended') throw this.#incomplete(this.#reasonOf(exit));
      const { records, sequence, logBytes } = this.#courier.shipFacts();
      const end = await readLogEnd(this.recording.paths.log);
      assert(end !== null, 'QEMU ends with 0 only after END');
      const facts: EndFacts = {
        reason: end.reason,
        point: end.point,
        vtimeNs: end.vtimeNs,
        digest: end.digest,
        disks: await hashDisks(config.disks.map((disk) => disk.image)),
        records,
        batches: Number(sequence),
        log_bytes: logBytes,
        console_bytes: this.#consoleBytes,
        wall_s: Number(wallS.toFixed(3)),
        ...(this.#options.checkpoints === null ? {} : this.#checkpointFacts()),
      };
      finishRecording(this.recording, facts);
      logger.info(endJson(facts), 'recorded');
      return facts;
    } finally {
      await this.#machine.end();
    }
  }

  #checkpointFacts(): Pick<EndFacts, 'checkpoints' | 'checkpoints_failed'> {
    const { checkpoints, checkpointFailures } = this.#machine.ring.status();
    return { checkpoints: Number(checkpoints), checkpoints_failed: Number(checkpointFailures) };
  }

  #reasonOf(exit: QemuExit): UnderstudyError {
    if (exit.reason === 'killed') return new UnderstudyError('interrupted', 'the VM was killed');
    return (
      exit.error ??
      new UnderstudyError('qemu-failed', `QEMU ended: ${exit.shmError || exit.stderr}`)
    );
  }

  /** The same error, with what is left of the recording; without anything, no folder. */
  #incomplete(error: UnderstudyError): UnderstudyError {
    const { dir } = this.recording.paths;
    const { records, horizon } = this.#courier.shipFacts();
    if (records === 0) {
      rmSync(dir, { recursive: true, force: true });
      return error;
    }
    const message =
      `${error.message}\nthe recording ${dir} is readable up to ${formatPosition(horizon)}; ` +
      "the VM's disks are as after a power cut";
    return new UnderstudyError(error.code, message, { cause: error, details: error.details });
  }
}

function argsOf(
  { digestEvery, onDiskError = 'stop', checkpoints }: RecorderOptions,
  { paths, manifest }: Recording,
): MachineOptions['args'] {
  return {
    mode: 'record',
    rtcBase: manifest.rtc_base,
    net: 'configured',
    digestEvery,
    onDiskError,
    fault: faultFromEnv(),
    ...(checkpoints === null
      ? {}
      : { checkpoints: { dir: paths.checkpoints, numbers: checkpoints } }),
  };
}

function segmentBytesFor({ bytes }: RetainLimits): number {
  const wanted = Math.floor((bytes ?? Number.POSITIVE_INFINITY) / RETAINED_SEGMENTS);
  return Math.max(RETAINED_SEGMENT_BYTES_MIN, Math.min(RETAINED_SEGMENT_BYTES_MAX, wanted));
}

function spaceLimits({ retain, checkpoints, config }: RecorderOptions): SpaceLimits | null {
  const bytes = retain?.bytes ?? null;
  if (bytes === null || checkpoints === null) return null;
  return {
    bytes,
    memoryBytes: config.memoryBytes,
    diskBytes: config.disks.reduce((sum, { image }) => sum + statSync(image).size, 0),
    chainMax: checkpoints.chainMax,
    everyMs: checkpoints.everyMs,
  };
}

/** What QEMU was writing when it ended: never visible as a checkpoint, but it has a size. */
function removePartial(checkpoints: string): void {
  if (!existsSync(checkpoints)) return;
  for (const name of readdirSync(checkpoints)) {
    if (name.endsWith('.partial'))
      rmSync(join(checkpoints, name), { recursive: true, force: true });
  }
}
