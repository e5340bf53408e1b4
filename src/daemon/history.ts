// SPDX-License-Identifier: Apache-2.0
/**
 * `[replication] history`: what a daemon keeps of the VM that it runs, beside the log, so
 * that the last minutes can be replayed (recording/past.ts has the files, `understudy
 * collect` makes a recording of them). A pair never depends on it: whatever goes wrong
 * ends the history, and is said.
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import { copyVm, manifestOf } from '../recording/folder.ts';
import { lockIfPossible } from '../recording/lock.ts';
import {
  checkpointsOf,
  historyDir,
  logName,
  logsOf,
  PARTS,
  type Part,
  type Past,
  pastDirs,
  pastFile,
} from '../recording/past.ts';
import type { JoinedState, Report } from '../replica/ports.ts';
import { CheckpointTrimmer } from '../retain/kept-checkpoints.ts';
import type { RetainLimits } from '../retain/limits.ts';
import type { CheckpointNumbers } from '../vm/checkpointing.ts';
import type { VmConfig } from '../vm/config.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';

export interface HistoryOptions {
  readonly stateDir: string;
  /** Of its past, in ms. */
  readonly spanMs: number;
  /** All checkpoints of a log together take no more. */
  readonly bytesMax: number;
  readonly numbers: CheckpointNumbers;
  readonly config: VmConfig;
  readonly configHash: string;
  readonly qemu: QemuBinary;
  readonly report: Report;
}

/** What QEMU is told (vm/qemu-args.ts). */
export interface HistoryPlan {
  readonly dir: string;
  /** Of a backup: from when it is live. */
  readonly liveDir: string | null;
  readonly numbers: CheckpointNumbers;
}

export interface Beginning {
  /** Hex. */
  readonly vmId: string;
  readonly term: number;
  readonly rtcBase: string;
  /** backup: it replays first, and takes over with the next term. */
  readonly as: 'primary' | 'backup';
  /** The checkpoint that a backup of a running VM starts at; null: power-on. */
  readonly from: JoinedState | null;
}

/** So much is left for the log: as QEMU leaves it (qemu/exitlog/cut/checkpoint-write.c). */
const RESERVE_BYTES = 64 * 2 ** 20;
const FULL = /No space left|quota exceeded/i;

export class History {
  /** Why there is none any more, or null. */
  error: string | null = null;
  readonly #o: HistoryOptions;
  readonly #closing = new AbortController();
  #current: { readonly dir: string; part: Part } | null = null;
  #trimmer: CheckpointTrimmer | null = null;

  constructor(options: HistoryOptions) {
    this.#o = options;
  }

  /**
   * Before QEMU starts: the images are as they will be then. Takes as long as copying
   * them does, where the file system cannot share their blocks.
   * @returns null when there will be none
   * @throws UnderstudyError when it is closed meanwhile
   */
  async begin(beginning: Beginning): Promise<HistoryPlan | null> {
    this.#trimmer?.stop();
    const { stateDir, numbers, config } = this.#o;
    const { vmId, term, as, from } = beginning;
    const part = as === 'primary' ? 'lived' : 'replayed';
    const dir = join(historyDir(stateDir), logName(vmId, term));
    this.#current = { dir, part };
    try {
      this.#forgetOld(dir);
      for (const one of PARTS) mkdirSync(join(dir, one), { recursive: true, mode: 0o700 });
      await copyVm(dir, config, this.#o.qemu, this.#closing.signal);
      if (from !== null) linkCheckpoint(from, checkpointsOf(dir, part));
      const { bavail, bsize } = statfsSync(dir);
      if (bavail * bsize < RESERVE_BYTES) throw new Error('No space left beside it for the log');
      writeJson(pastFile(dir), this.#past(beginning));
    } catch (error) {
      if (this.#closing.signal.aborted) throw error;
      this.#giveUp(messageOf(error));
      return null;
    }
    this.error = null;
    this.#trim(dir, part);
    const liveDir = as === 'primary' ? null : checkpointsOf(dir, 'lived');
    return { dir: checkpointsOf(dir, part), liveDir, numbers };
  }

  #past({ vmId, term, rtcBase, as, from }: Beginning): Past {
    const { config, configHash, qemu, spanMs } = this.#o;
    const name = logName(vmId, term);
    return {
      format: 1,
      manifest: manifestOf(config.name, qemu, { vmId, rtcBase, configHash }, []),
      begins: from === null ? 'power-on' : 'checkpoint',
      history_ms: spanMs,
      logs:
        as === 'primary'
          ? { replayed: null, lived: name }
          : { replayed: name, lived: logName(vmId, term + 1) },
    };
  }

  /** A backup has taken over: what it replayed stays, however old it gets. */
  wentLive(): void {
    if (this.#current === null || this.error !== null) return;
    this.#trimmer?.stop();
    this.#current.part = 'lived';
    this.#trim(this.#current.dir, 'lived');
  }

  /** QEMU could not make one. */
  failed(reason: string): void {
    if (this.error !== null) return;
    if (FULL.test(reason)) this.#giveUp(reason);
    else this.#o.report('history-gap', { reason });
  }

  close(): void {
    this.#closing.abort();
    this.#trimmer?.stop();
  }

  #trim(dir: string, part: Part): void {
    const { spanMs, bytesMax, report } = this.#o;
    const limits: RetainLimits = { count: null, ageMs: spanMs, bytes: bytesMax };
    this.#trimmer = new CheckpointTrimmer(
      checkpointsOf(dir, part),
      () => hold(dir),
      limits,
      (reason) => report('history-not-trimmed', { reason }),
    );
  }

  /** Frees what it takes: the log needs the space. QEMU sees that the folder is gone. */
  #giveUp(reason: string): void {
    this.#trimmer?.stop();
    this.error = reason;
    const { dir, part } = this.#current ?? { dir: '', part: 'replayed' };
    // What the side that is gone did stays.
    const gone = part === 'lived' && hasReplayed(dir) ? join(dir, part) : dir;
    try {
      if (gone !== '') rmSync(gone, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      this.#o.report('history-not-deleted', { reason: messageOf(error) });
    }
    this.#o.report('history-given-up', { reason });
  }

  /** Of logs that are gone, and of a join that came to nothing. */
  #forgetOld(now: string): void {
    const { stateDir } = this.#o;
    for (const dir of pastDirs(stateDir)) {
      if (dir === now || !isUsed(stateDir, dir)) rmSync(dir, { recursive: true, force: true });
    }
  }
}

/** Against whoever collects. Null: somebody does. */
function hold(dir: string): { release(): void } | null {
  const lock = lockIfPossible(pastFile(dir), 'exclusive');
  return lock === 'impossible' ? { release() {} } : lock;
}

function isUsed(stateDir: string, dir: string): boolean {
  try {
    return logsOf(stateDir, dir).length > 0;
  } catch {
    return false; // it is damaged
  }
}

function hasReplayed(dir: string): boolean {
  return existsSync(checkpointsOf(dir, 'replayed'));
}

/** The one that a backup starts at: its folder goes at the next join. */
function linkCheckpoint({ chain }: JoinedState, into: string): void {
  for (const source of readFileSync(chain, 'utf8').trim().split('\n')) {
    const target = join(into, basename(source));
    mkdirSync(target, { recursive: true });
    for (const name of readdirSync(source)) linkSync(join(source, name), join(target, name));
  }
}
