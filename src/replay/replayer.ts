// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy replay`: a recording runs again, instruction by instruction, on
 * private copies of its disks, with no network and nobody typing.
 *
 * QEMU compares every packet and every console byte with the log and stops at
 * the first difference; at the end it compares the digests of CPU, RAM and
 * devices. The recording itself is never written to.
 */
import { charOut } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import {
  comparePoints,
  comparePositions,
  formatPosition,
  nameOf,
  POWER_ON,
  type Point,
  type Position,
} from '../base/position.ts';
import { Undo } from '../base/undo.ts';
import { applyDisks, type ChainStart, findStart, noStart, originOf } from '../checkpoint/start.ts';
import type { Batch } from '../log/batch.ts';
import { divergenceError } from '../log/divergence.ts';
import { type LogEnd, LogEndFinder } from '../log/log-end.ts';
import { LogReader } from '../log/log-reader.ts';
import { openRecording, type Recording, sameDisks } from '../recording/folder.ts';
import { configHash } from '../vm/config.ts';
import { hashDisks } from '../vm/disk.ts';
import { Feed } from '../vm/feed.ts';
import { Machine } from '../vm/machine.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import type { QemuExit } from '../vm/qemu-process.ts';
import { ConsoleComparer } from './console-comparer.ts';
import { checkFirmware, firmwareDirOf } from './firmware.ts';
import { Scratch } from './scratch.ts';

export interface ReplayOptions {
  readonly dir: string;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Also compare the console and the disks with those recorded. */
  readonly verify: boolean;
  /** Stop when the guest has got here. */
  readonly until: Point | null;
  /** Start at the newest checkpoint at or before this point; null: at power-on. */
  readonly from?: Point | null;
  /** Told each checkpoint that is damaged, and what is used instead. */
  readonly onWarning?: (text: string) => void;
  /** Console bytes, as they are fed. */
  readonly onConsole: (bytes: Buffer) => void;
  readonly onProgress: (done: Position) => void;
  /** Something to do wrong on purpose (qemu-args.ts). */
  readonly fault?: string | undefined;
  /** What to look at on the way (probes.ts): the file with the requests. */
  readonly probes?: string;
  /** The recording was checked by an earlier replay; the build may be another. */
  readonly unchecked?: true;
}

export interface ReplayResult {
  /** The guest's last position. */
  readonly position: Position;
  readonly wallS: number;
  /** The digest, equal on both sides; null when the replay did not get to the END. */
  readonly digest: string | null;
  /**
   * end: all of it; until: stopped there as asked; horizon: the recorder was
   * killed, and this is as far as its log goes.
   */
  readonly stoppedAt: 'end' | 'until' | 'horizon';
  /** Where the checkpoint stands that it started at; null: it started at power-on. */
  readonly startedAt: Point | null;
  readonly records: number;
  readonly logBytes: number;
  /** Null: not compared. */
  readonly consoleIdentical: boolean | null;
  readonly disksIdentical: boolean | null;
}

/** Replays a recording. @throws UnderstudyError divergence (10), log-* (11), … */
export async function replay(options: ReplayOptions, aborted: AbortSignal): Promise<ReplayResult> {
  const recording = openRecording(options.dir);
  if (options.unchecked !== true) await checkSame(recording, options.qemu);
  const scratch = Scratch.make('replay');
  const undo = new Undo();
  try {
    const start = await startPoint(recording, options);
    const disks = recording.config.disks.map(({ image }) => image);
    const images = await scratch.copies(disks, aborted);
    aborted.throwIfAborted();
    if (start !== null) await applyDisks(start.chain, images);
    const comparer = options.verify ? comparerOf(recording) : null;
    undo.add(() => comparer?.close());
    const machine = await Machine.start({
      config: recording.config,
      qemu: options.qemu,
      logger: options.logger,
      args: {
        mode: 'replay',
        rtcBase: recording.manifest.rtc_base,
        firmwareDir: firmwareDirOf(recording, options.qemu),
        net: 'none',
        diskImages: images,
        fault: options.fault,
        ...(options.probes === undefined ? {} : { probes: options.probes }),
      },
      origin: start === null ? null : originOf(start, scratch.dir),
      undo,
    });
    const parts = { recording, start, comparer, machine };
    const result = await new ReplayRun(options, parts).run(aborted);
    if (!options.verify || recording.end === null || result.stoppedAt !== 'end') return result;
    const hashes = await hashDisks(images);
    return { ...result, disksIdentical: sameDisks(hashes, recording.end.disks) };
  } catch (error) {
    throw scratch.explain(error);
  } finally {
    await undo.run();
    scratch.end();
  }
}

/** Null: power-on. @throws UnderstudyError usage | log-corrupt | log-version */
async function startPoint(
  recording: Recording,
  { from = null, until, onWarning = () => {} }: ReplayOptions,
): Promise<ChainStart | null> {
  const begin = recording.retained?.from ?? null;
  const wanted = from ?? begin;
  if (wanted === null) return null;
  const isBefore = (point: Point | null): boolean =>
    begin !== null && point !== null && comparePoints(point, begin) < 0;
  if (begin !== null && (isBefore(wanted) || isBefore(until))) {
    throw new UnderstudyError(
      'usage',
      `${recording.paths.dir} begins at ${nameOf(begin)}: what came before was not retained`,
    );
  }
  const start = await findStart(recording, wanted, onWarning);
  if (start === null && begin !== null) throw noStart(recording.paths, begin);
  return start;
}

/**
 * Refuses, by name, a recording that another build, machine or hand would have made.
 * @throws UnderstudyError log-build | log-firmware | log-config
 */
export async function checkSame(recording: Recording, qemu: QemuBinary): Promise<void> {
  const { manifest, paths } = recording;
  if (manifest.qemu.build_id !== qemu.buildId) {
    throw new UnderstudyError(
      'log-build',
      `${paths.dir} was recorded by QEMU ${manifest.qemu.version} build ` +
        `${manifest.qemu.build_id.slice(0, 16)}, this is QEMU ${qemu.version} build ` +
        `${qemu.buildId.slice(0, 16)}: replay needs the build that recorded ` +
        '(UNDERSTUDY_QEMU may name it)',
      { details: { recorded: manifest.qemu.build_id, found: qemu.buildId } },
    );
  }
  checkFirmware(recording, firmwareDirOf(recording, qemu));
  await checkContent(recording);
}

/**
 * Refuses a recording of which the VM, the kernel or a disk is not as recorded.
 * @throws UnderstudyError log-config
 */
export async function checkContent(recording: Recording): Promise<void> {
  const { manifest, paths, config } = recording;
  const hash = await configHash(config);
  if (hash !== manifest.config_hash) {
    throw new UnderstudyError(
      'log-config',
      `${paths.dir}: VM.toml, the kernel or the initrd is not what was recorded ` +
        `(hash ${hash.slice(0, 16)}, recorded ${manifest.config_hash.slice(0, 16)})`,
      { details: { recorded: manifest.config_hash, found: hash } },
    );
  }
  const disks = await hashDisks(config.disks.map((disk) => disk.image));
  const changed = disks.findIndex((disk, index) => disk.hash !== manifest.disks[index]?.hash);
  if (changed >= 0) {
    throw new UnderstudyError(
      'log-config',
      `${config.disks[changed]?.image} is not the disk that was recorded at power-on: ` +
        'somebody changed it',
    );
  }
}

class ReplayRun {
  readonly #recording: Recording;
  readonly #options: ReplayOptions;
  readonly #start: ChainStart | null;
  readonly #machine: Machine;
  readonly #console: ConsoleComparer | null;
  readonly #startedMs = performance.now();
  /** How far the log goes that was fed. */
  #covered: Position = POWER_ON;
  #fed: { end: LogEnd | null } | null = null;
  #failure: unknown = null;
  #reached: 'until' | 'horizon' | null = null;
  #records = 0;
  #logBytes = 0;

  constructor(
    options: ReplayOptions,
    parts: {
      recording: Recording;
      start: ChainStart | null;
      comparer: ConsoleComparer | null;
      machine: Machine;
    },
  ) {
    this.#options = options;
    this.#recording = parts.recording;
    this.#start = parts.start;
    this.#console = parts.comparer;
    this.#machine = parts.machine;
  }

  /** Nothing is left of the machine then. */
  async run(aborted: AbortSignal): Promise<ReplayResult> {
    const machine = this.#machine;
    const abort = (): void => machine.kill();
    aborted.addEventListener('abort', abort);
    try {
      aborted.throwIfAborted();
      if (this.#options.until !== null) machine.holds.hold('until', this.#options.until);
      const feed = new Feed({
        ring: machine.ring,
        log: this.#log(),
        from: this.#start?.entrance ?? null,
        onFed: (batch) => this.#onFed(batch),
        onNotify: () => this.#onNotify(),
      });
      machine.undo.add(() => feed.close());
      const feeding = feed.done.catch((error: unknown) => {
        this.#failure = error;
        machine.kill();
      });
      const exit = await machine.exited;
      feed.close();
      await feeding;
      aborted.throwIfAborted();
      await this.#check(exit);
      return this.#result((performance.now() - this.#startedMs) / 1000);
    } finally {
      aborted.removeEventListener('abort', abort);
      await machine.end();
    }
  }

  /** The log as it is read, its console compared, to its END. */
  async *#log(): AsyncGenerator<{ readonly batch: Batch }, void, undefined> {
    const { paths, manifest, end, retained } = this.#recording;
    const begin = retained?.fromSegment ?? 1;
    const finder = new LogEndFinder();
    const reader = new LogReader(paths.log, {
      vmId: Buffer.from(manifest.vm_id, 'hex'),
      // A recorder that was killed leaves half a batch; one that ended does not.
      tail: end === null ? 'torn' : 'whole',
      // The console is compared from its beginning; else what was before has no part in it.
      fromIndex: (this.#console === null ? this.#start?.entrance.segment : undefined) ?? begin,
    });
    for await (const { batch } of reader) {
      finder.see(batch);
      this.#console?.compare(charOutOf(batch));
      yield { batch };
    }
    const found = finder.end();
    if (end !== null && found === null) {
      throw new UnderstudyError(
        'log-truncated',
        `${paths.log}: the log has no END, but end.json says that the recording was complete: ` +
          'batches are missing from its end',
      );
    }
    this.#fed = { end: found };
  }

  #onFed(batch: Batch): void {
    const { frame, header } = batch;
    this.#covered = batch.covered;
    this.#records += header.recordCount;
    this.#logBytes += frame.length;
    const bytes = charOutOf(batch);
    if (bytes.length > 0) this.#options.onConsole(bytes);
  }

  /** Sees whether the replay is where it was to stop. */
  #onNotify(): void {
    if (this.#reached !== null) return;
    const status = this.#machine.ring.status();
    this.#options.onProgress(status);
    if (status.state !== 'replaying') return;
    const { until } = this.#options;
    if (until !== null && comparePoints(status.point, until) >= 0) this.#stop('until');
    // QEMU has used up a log that has no END, and waits.
    const exhausted = this.#fed !== null && this.#fed.end === null && status.inPending === 0;
    if (exhausted && comparePositions(status, this.#covered) >= 0) this.#stop('horizon');
  }

  #stop(where: 'until' | 'horizon'): void {
    this.#reached = where;
    this.#machine.kill();
  }

  #result(wallS: number): ReplayResult {
    const { point, vtimeNs } = this.#machine.ring.status();
    const partial = this.#reached === 'until';
    return {
      position: { point, vtimeNs },
      wallS,
      digest: this.#reached === null ? (this.#fed?.end?.digest ?? null) : null,
      stoppedAt: this.#reached ?? 'end',
      startedAt: this.#start?.point ?? null,
      records: this.#records,
      logBytes: this.#logBytes,
      consoleIdentical: this.#console === null || partial ? null : this.#console.identical(),
      disksIdentical: null,
    };
  }

  /** @throws what went wrong, if the replay did not end as it should */
  async #check(exit: QemuExit): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (exit.reason === 'diverged') {
      throw await divergenceError(exit.shmError || exit.stderr, this.#recording.paths.log);
    }
    if (this.#reached !== null || exit.reason === 'ended') return;
    const at = formatPosition(this.#machine.ring.status());
    throw (
      exit.error ?? new UnderstudyError('qemu-died', `QEMU was killed while replaying, at ${at}`)
    );
  }
}

function comparerOf({ paths, retained }: Recording): ConsoleComparer {
  return new ConsoleComparer(paths.console, retained?.consoleFrom ?? 0);
}

function charOutOf({ frame }: Batch): Buffer {
  return charOut(frame, 0, frame.length);
}
