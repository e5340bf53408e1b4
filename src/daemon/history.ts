// SPDX-License-Identifier: Apache-2.0
/**
 * `[replication] history`: what a daemon keeps of the VM that it runs, beside the log, so
 * that the last minutes can be replayed (recording/past.ts has the files, `understudy
 * collect` makes a recording of them). A pair never depends on it: whatever goes wrong
 * ends the history, and is said.
 */
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import type { Origin } from '../log/entrance.ts';
import { copyVm, manifestOf } from '../recording/folder.ts';
import { lockIfPossible } from '../recording/lock.ts';
import {
  checkpointsOf,
  historyDir,
  logName,
  logsOf,
  type Past,
  pastDirs,
  pastFile,
} from '../recording/past.ts';
import type { Report } from '../replica/ports.ts';
import { CheckpointTrimmer } from '../retain/kept-checkpoints.ts';
import type { RetainLimits } from '../retain/limits.ts';
import type { CheckpointNumbers } from '../vm/checkpointing.ts';
import type { VmConfig } from '../vm/config.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';

export interface HistoryOptions {
  readonly stateDir: string;
  /** How much of its past is kept, in ms. */
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
  readonly numbers: CheckpointNumbers;
}

/** The VM whose history begins. */
export interface HistoryVm {
  /** Hex. */
  readonly vmId: string;
  readonly term: number;
  readonly rtcBase: string;
  /** backup: it replays first. */
  readonly as: 'primary' | 'backup';
  /** The checkpoint that a backup of a running VM starts at; null: power-on. */
  readonly from: Origin | null;
}

/** Room that is left for the log, as QEMU leaves it (qemu/exitlog/cut/checkpoint-write.c). */
const RESERVE_BYTES = 64 * 2 ** 20;
const FULL = /No space left|quota exceeded/i;

export class History {
  /** Why there is none any more, or null. */
  error: string | null = null;
  readonly #o: HistoryOptions;
  readonly #closing = new AbortController();
  #dir: string | null = null;
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
  async begin(vm: HistoryVm): Promise<HistoryPlan | null> {
    this.#trimmer?.stop();
    const { stateDir, numbers, config } = this.#o;
    const { vmId, term, from } = vm;
    const dir = join(historyDir(stateDir), logName(vmId, term));
    const checkpoints = checkpointsOf(dir);
    this.#dir = dir;
    try {
      this.#forgetOld(dir);
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      await copyVm(dir, config, this.#o.qemu, this.#closing.signal);
      if (from !== null) linkCheckpoint(from, checkpoints);
      const { bavail, bsize } = statfsSync(dir);
      if (bavail * bsize < RESERVE_BYTES) throw new Error('No space left beside it for the log');
      writeJson(pastFile(dir), this.#past(vm));
    } catch (error) {
      if (this.#closing.signal.aborted) throw error;
      this.#giveUp(messageOf(error));
      return null;
    }
    this.error = null;
    this.#trim(dir);
    return { dir: checkpoints, numbers };
  }

  #past({ vmId, term, rtcBase, as, from }: HistoryVm): Past {
    const { config, configHash, qemu, spanMs } = this.#o;
    return {
      format: 2,
      manifest: manifestOf(config.name, qemu, { vmId, rtcBase, configHash }, []),
      begins: from === null ? 'power-on' : 'checkpoint',
      history_ms: spanMs,
      as,
      log: logName(vmId, term),
    };
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

  #trim(dir: string): void {
    const { spanMs, bytesMax, report } = this.#o;
    const limits: RetainLimits = { count: null, ageMs: spanMs, bytes: bytesMax };
    this.#trimmer = new CheckpointTrimmer(
      checkpointsOf(dir),
      () => hold(dir),
      limits,
      (reason) => report('history-not-trimmed', { reason }),
    );
  }

  /** Frees what it takes: the log needs the space. QEMU sees that the folder is gone. */
  #giveUp(reason: string): void {
    this.#trimmer?.stop();
    this.error = reason;
    try {
      if (this.#dir !== null) rmSync(this.#dir, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      this.#o.report('history-not-deleted', { reason: messageOf(error) });
    }
    this.#o.report('history-given-up', { reason });
  }

  /** Deletes what belongs to logs that are gone, and to a join that came to nothing. */
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

/** The one that a backup starts at: its folder goes at the next join. */
function linkCheckpoint({ chain }: Origin, into: string): void {
  for (const source of readFileSync(chain, 'utf8').trim().split('\n')) {
    const target = join(into, basename(source));
    mkdirSync(target, { recursive: true });
    for (const name of readdirSync(source)) linkSync(join(source, name), join(target, name));
  }
}
