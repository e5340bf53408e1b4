// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy replay`: a recording runs again, instruction by instruction, on
 * private copies of its disks, with no network and nobody typing.
 *
 * QEMU compares every packet and every console byte with the log and stops at
 * the first difference; at the end it compares the digests of CPU, RAM and
 * devices. The recording itself is never written to.
 */
import { charOut, ExitRing, ICOUNT_UNBOUNDED } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { comparePositions, formatPosition, POWER_ON, type Position } from '../base/position.ts';
import { applyDisks, type ChainStart, findStart, writeChain } from '../checkpoint/start.ts';
import { divergenceError } from '../log/divergence.ts';
import { type LogEnd, LogEndFinder } from '../log/log-end.ts';
import { LogReader } from '../log/log-reader.ts';
import { openRecording, type Recording, sameDisks } from '../recording/folder.ts';
import { configHash } from '../vm/config.ts';
import { hashDisks } from '../vm/disk.ts';
import { Holds } from '../vm/holds.ts';
import { qemuArgs } from '../vm/qemu-args.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { type QemuExit, QemuProcess } from '../vm/qemu-process.ts';
import { ConsoleComparer } from './console-comparer.ts';
import { checkFirmware, firmwareDirOf } from './firmware.ts';
import { Scratch } from './scratch.ts';

export interface ReplayOptions {
  readonly dir: string;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Also compare the console and the disks with those recorded. */
  readonly verify: boolean;
  /** Stop when the guest has retired so many instructions. */
  readonly until: bigint | null;
  /** Start at the newest checkpoint at or before so many instructions; null: at power-on. */
  readonly from?: bigint | null;
  /** Told each checkpoint that is damaged, and what is used instead. */
  readonly onWarning?: (text: string) => void;
  /** Console bytes, as they are fed. */
  readonly onConsole: (bytes: Buffer) => void;
  readonly onProgress: (done: Position) => void;
  readonly hangTimeoutMs?: number;
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
  /** icount of the checkpoint it started at; null: it started at power-on. */
  readonly startedAt: bigint | null;
  readonly records: number;
  readonly logBytes: number;
  /** Null: not compared. */
  readonly consoleIdentical: boolean | null;
  readonly disksIdentical: boolean | null;
}

const POLL_MS = 20;

/** Replays a recording. @throws UnderstudyError divergence (10), log-* (11), … */
export async function replay(options: ReplayOptions, aborted: AbortSignal): Promise<ReplayResult> {
  const recording = openRecording(options.dir);
  if (options.unchecked !== true) await checkSame(recording, options.qemu);
  const scratch = Scratch.make('replay');
  try {
    const start = await startPoint(recording, options);
    const disks = recording.config.disks.map(({ image }) => image);
    const images = await scratch.copies(disks, aborted);
    aborted.throwIfAborted();
    let chain: string | null = null;
    if (start !== null) {
      await applyDisks(start.chain, images);
      chain = writeChain(start.chain, scratch.dir);
    }
    const result = await new ReplayRun(recording, options, start, chain).run(images, aborted);
    if (!options.verify || recording.end === null || result.stoppedAt !== 'end') return result;
    const hashes = await hashDisks(images);
    return { ...result, disksIdentical: sameDisks(hashes, recording.end.disks) };
  } catch (error) {
    throw scratch.explain(error);
  } finally {
    scratch.end();
  }
}

/** Null: power-on. @throws UnderstudyError usage | log-corrupt */
async function startPoint(
  recording: Recording,
  { from = null, until, onWarning = () => {} }: ReplayOptions,
): Promise<ChainStart | null> {
  const begin = recording.retained?.from_icount ?? null;
  const wanted = from ?? begin;
  if (wanted === null) return null;
  if (begin !== null && (wanted < begin || (until !== null && until < begin))) {
    throw new UnderstudyError(
      'usage',
      `${recording.paths.dir} begins at icount ${begin}: what came before was not retained`,
    );
  }
  const start = await findStart(recording, wanted, onWarning);
  if (start === null && begin !== null) {
    throw new UnderstudyError(
      'log-corrupt',
      `${recording.paths.dir} begins at icount ${begin}, and no checkpoint from there on is whole`,
    );
  }
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
  /** The file that tells QEMU the checkpoint to start at. */
  readonly #chain: string | null;
  readonly #ring = new ExitRing();
  readonly #console: ConsoleComparer | null;
  #qemu: QemuProcess | null = null;
  #wake: (() => void) | null = null;
  #gone = false;
  /** Of the newest batch fed. */
  #horizon: Position = POWER_ON;
  #fed: { end: LogEnd | null } | null = null;
  #failure: unknown = null;
  #reached: 'until' | 'horizon' | null = null;
  #records = 0;
  #logBytes = 0;

  constructor(
    recording: Recording,
    options: ReplayOptions,
    start: ChainStart | null,
    chain: string | null,
  ) {
    this.#recording = recording;
    this.#options = options;
    this.#start = start;
    this.#chain = chain;
    this.#console = options.verify
      ? new ConsoleComparer(recording.paths.console, recording.retained?.console_from ?? 0)
      : null;
  }

  async run(images: readonly string[], aborted: AbortSignal): Promise<ReplayResult> {
    const startedMs = performance.now();
    const abort = (): void => this.#qemu?.kill();
    let poll: NodeJS.Timeout | null = null;
    try {
      this.#qemu = await this.#spawn(images);
      aborted.addEventListener('abort', abort);
      this.#ring.onNotify(() => this.#onNotify());
      poll = setInterval(() => this.#onNotify(), POLL_MS);
      const feeding = this.#feed().catch((error: unknown) => {
        this.#failure = error;
        this.#qemu?.kill();
      });
      const exit = await this.#qemu.exited;
      this.#gone = true;
      this.#wake?.();
      await feeding;
      aborted.throwIfAborted();
      await this.#check(exit);
      return this.#result((performance.now() - startedMs) / 1000);
    } finally {
      if (poll !== null) clearInterval(poll);
      aborted.removeEventListener('abort', abort);
      this.#qemu?.kill();
      await this.#qemu?.exited;
      this.#console?.close();
      this.#ring.destroy();
    }
  }

  async #spawn(images: readonly string[]): Promise<QemuProcess> {
    const { qemu, logger, until, hangTimeoutMs } = this.#options;
    const holds = new Holds((icount) => this.#ring.setIcountMax(icount ?? ICOUNT_UNBOUNDED));
    if (until !== null) holds.hold('until', until);
    if (this.#start !== null) {
      const { recordBase, dataBase } = this.#start.entrance;
      this.#ring.startAt(recordBase, dataBase);
    }
    return QemuProcess.spawn({
      binary: qemu.path,
      args: qemuArgs(this.#recording.config, {
        mode: 'replay',
        rtcBase: this.#recording.manifest.rtc_base,
        firmwareDir: firmwareDirOf(this.#recording, qemu),
        net: 'none',
        diskImages: images,
        fault: this.#options.fault,
        ...(this.#chain === null ? {} : { checkpoint: this.#chain }),
        ...(this.#options.probes === undefined ? {} : { probes: this.#options.probes }),
      }),
      ring: this.#ring,
      logger,
      ...(hangTimeoutMs === undefined ? {} : { hangTimeoutMs }),
    });
  }

  /** Step 6: batch after batch, each when the ring has room for it. */
  async #feed(): Promise<void> {
    const { paths, manifest, end, retained } = this.#recording;
    const begin = retained?.from_segment ?? 1;
    const finder = new LogEndFinder();
    const reader = new LogReader(paths.log, {
      vmId: Buffer.from(manifest.vm_id, 'hex'),
      // A recorder that was killed leaves half a batch; one that ended does not.
      tail: end === null ? 'torn' : 'whole',
      // The console is compared from its beginning; else what was before has no part in it.
      fromIndex: (this.#console === null ? this.#start?.entrance.segment : undefined) ?? begin,
    });
    for await (const { batch } of reader) {
      const { frame, header } = batch;
      finder.see(batch);
      const bytes = charOut(frame, 0, frame.length);
      if (bytes.length > 0) this.#console?.compare(bytes);
      if (this.#start !== null && header.recordBase < this.#start.entrance.recordBase) continue;
      while (!this.#ring.fill(frame, 0, frame.length)) {
        await this.#notified();
        if (this.#gone) return;
      }
      if (this.#gone) return;
      this.#horizon = { icount: header.horizonIcount, vtimeNs: header.horizonVtimeNs };
      this.#records += header.recordCount;
      this.#logBytes += frame.length;
      if (bytes.length > 0) this.#options.onConsole(bytes);
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

  #notified(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Sees whether the replay is where it was to stop. */
  #onNotify(): void {
    this.#wake?.();
    this.#wake = null;
    if (this.#gone || this.#reached !== null) return;
    const status = this.#ring.status();
    this.#options.onProgress(status);
    if (status.state !== 'replaying') return;
    const { until } = this.#options;
    if (until !== null && status.icount >= until) this.#stop('until');
    // QEMU has used up a log that has no END, and waits.
    const exhausted = this.#fed !== null && this.#fed.end === null && status.inPending === 0;
    if (exhausted && comparePositions(status, this.#horizon) >= 0) this.#stop('horizon');
  }

  #stop(where: 'until' | 'horizon'): void {
    this.#reached = where;
    this.#qemu?.kill();
  }

  #result(wallS: number): ReplayResult {
    const { icount, vtimeNs } = this.#ring.status();
    const partial = this.#reached === 'until';
    return {
      position: { icount, vtimeNs },
      wallS,
      digest: this.#reached === null ? (this.#fed?.end?.digest ?? null) : null,
      stoppedAt: this.#reached ?? 'end',
      startedAt: this.#start?.icount ?? null,
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
    const at = formatPosition(this.#ring.status());
    throw (
      exit.error ?? new UnderstudyError('qemu-died', `QEMU was killed while replaying, at ${at}`)
    );
  }
}
