// SPDX-License-Identifier: Apache-2.0
/**
 * One QEMU child: spawned with the ring's descriptors, watched, killed by pid.
 *
 * It cannot outlive us (QEMU sets PDEATHSIG), and it cannot hang unnoticed: a
 * watchdog kills it when its io thread, or its vCPU under load, stands still.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { qemuEnvironment } from './confinement.ts';
import { MEMORY_FD, NOTIFY_FD, REST_FD, SHM_FD, TAP_FD, WAKE_FD } from './qemu-args.ts';
import { explainExit } from './qemu-errors.ts';
import { Watchdog, type WatchedStatus } from './watchdog.ts';

/** What QemuProcess needs of the addon's ExitRing. */
export interface ProcessRing {
  readonly shmFd: number;
  readonly notifyFd: number;
  readonly wakeFd: number;
  status(): WatchedStatus;
}

/** What a QEMU that waits beside an image inherits of it. */
export interface ImageFds {
  /** Its main memory. */
  readonly memoryFd: number;
  /** Where it finds the rest at a take-over. */
  readonly restFd: number;
}

export interface QemuProcessOptions {
  readonly binary: string;
  readonly args: readonly string[];
  readonly ring: ProcessRing;
  /** With `image` of qemu-args.ts. Copied: the caller's stay. */
  readonly image?: ImageFds;
  /** Descriptors of its taps, in the order of tapsOf(). Copied: the caller's stay. */
  readonly taps?: readonly number[];
  readonly logger: Logger;
  /** Each line that it says. */
  readonly onLine?: (line: string) => void;
  /** No progress for this long is a hang (vm/watchdog.ts). */
  readonly hangTimeoutMs: number;
}

/** How a QEMU process ended. */
export interface QemuExit {
  /**
   * ended: it reached the END of its log; diverged: replay broke; killed: by
   * `kill()`; hung: killed by the watchdog; failed: anything else, also a
   * signal from outside.
   */
  readonly reason: 'ended' | 'diverged' | 'killed' | 'hung' | 'failed';
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** JSON that QEMU left in shm.error, or "". */
  readonly shmError: string;
  /** The last of its stderr. */
  readonly stderr: string;
  /** A readable error for hung and failed, null otherwise. */
  readonly error: UnderstudyError | null;
}

const STDERR_TAIL_BYTES = 16 * 1024;
const EXIT_DIVERGED = 10;

export class QemuProcess {
  readonly pid: number;
  /** Resolves, never rejects, when the process has ended and its stderr is read. */
  readonly exited: Promise<QemuExit>;
  readonly #child: ChildProcess;
  readonly #watchdog: Watchdog;
  #stderr = '';
  #killedBy: 'killed' | 'hung' | null = null;
  #hang = '';
  #gone = false;

  private constructor(child: ChildProcess, pid: number, options: QemuProcessOptions) {
    this.#child = child;
    this.pid = pid;
    const { logger, ring, hangTimeoutMs } = options;
    const say = (line: string): void => {
      if (line === '') return;
      logger.warn({ qemu: line });
      options.onLine?.(line);
    };
    for (const stream of [child.stderr, child.stdout]) {
      let begun = ''; // QEMU writes a line in pieces
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL_BYTES);
        const lines = (begun + text).split('\n');
        begun = lines.pop() ?? '';
        for (const line of lines) say(line);
      });
      stream?.on('end', () => say(begun));
    }
    this.#watchdog = new Watchdog({
      status: () => ring.status(),
      cpuMs: () => cpuMsOf(pid),
      timeoutMs: hangTimeoutMs,
      onHang: (why) => {
        logger.error({ why }, 'QEMU hangs: killing it');
        this.#hang = why;
        this.#kill('hung');
      },
    });
    this.exited = new Promise((resolve) => {
      // 'close' and not 'exit': the pipes are drained then.
      child.once('close', (code, signal) => {
        this.#gone = true;
        this.#watchdog.stop();
        const exit = this.#describe(code, signal, ring, options);
        logger.info({ code, signal, reason: exit.reason }, 'QEMU ended');
        resolve(exit);
      });
    });
    this.#watchdog.start();
  }

  /**
   * Starts QEMU. The ring stays the caller's, to be destroyed after `exited`.
   * @throws UnderstudyError qemu-missing when it cannot be executed
   */
  static async spawn(options: QemuProcessOptions): Promise<QemuProcess> {
    const { binary, args, ring, logger } = options;
    const stdio: Array<'ignore' | 'pipe' | number> = ['ignore', 'pipe', 'pipe'];
    stdio[SHM_FD] = ring.shmFd;
    stdio[NOTIFY_FD] = ring.notifyFd;
    stdio[WAKE_FD] = ring.wakeFd;
    if (options.image !== undefined) {
      stdio[MEMORY_FD] = options.image.memoryFd;
      stdio[REST_FD] = options.image.restFd;
    }
    options.taps?.forEach((fd, index) => {
      stdio[TAP_FD + index] = fd;
    });
    for (let fd = 0; fd < stdio.length; fd += 1) stdio[fd] ??= 'ignore';
    logger.info({ binary, args }, 'starting QEMU');
    const child = spawn(binary, args, {
      stdio,
      // Ctrl-C in the terminal is for the daemon, which stops QEMU in order.
      detached: true,
      env: qemuEnvironment(process.env),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) =>
        reject(
          new UnderstudyError('qemu-missing', `cannot run ${binary}: ${cause.message}`, { cause }),
        ),
      );
    });
    child.on('error', (error) => logger.error({ err: error }, 'QEMU process error'));
    if (child.pid === undefined) throw new Error('a spawned process has a pid');
    return new QemuProcess(child, child.pid, options);
  }

  /** SIGKILL to this very process. Idempotent. */
  kill(): void {
    this.#kill('killed');
  }

  #kill(by: 'killed' | 'hung'): void {
    if (this.#gone) return;
    this.#killedBy ??= by;
    this.#child.kill('SIGKILL');
  }

  #describe(
    code: number | null,
    signal: NodeJS.Signals | null,
    ring: ProcessRing,
    options: QemuProcessOptions,
  ): QemuExit {
    const shmError = ring.status().error;
    const stderr = this.#stderr;
    const common = { code, signal, shmError, stderr };
    if (code === 0) return { reason: 'ended', ...common, error: null };
    if (code === EXIT_DIVERGED) return { reason: 'diverged', ...common, error: null };
    if (this.#killedBy === 'hung') {
      const error = new UnderstudyError(
        'qemu-hung',
        `QEMU was killed because it hung: ${this.#hang}`,
      );
      return { reason: 'hung', ...common, error };
    }
    if (this.#killedBy === 'killed') return { reason: 'killed', ...common, error: null };
    const error = explainExit({ ...common, binary: options.binary });
    return { reason: 'failed', ...common, error };
  }
}

/** CPU time of a process so far (user and system), or null when it is gone. */
function cpuMsOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command, in parentheses, may hold spaces: count fields after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100 on Linux
  } catch {
    return null;
  }
}
