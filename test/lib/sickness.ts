// SPDX-License-Identifier: Apache-2.0
/** Who is not well, and not dead: a host's disk (sick-disk.c), one thread of its daemon, or the arbiter. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';
import type { ArbiterIllness } from './grey-illness.ts';
import { LoopFolder } from './loop-folder.ts';
import { preloaded } from './preloaded.ts';

/** What sick-disk.c knows. */
export type DiskSickness = 'frozen' | 'slow' | 'full' | 'failing';

export class SickDisk {
  /** For the daemon of that host. */
  readonly env: Readonly<Record<string, string>>;
  readonly #control: string;

  /** @param dir where the library goes; not on that disk */
  constructor(dir: string, name: string) {
    const library = build(dir, 'sick-disk', ['-shared', '-fPIC']);
    this.#control = join(dir, `sick-${name}`);
    this.heal();
    this.env = preloaded(library, { SICK_DISK: this.#control });
  }

  /** From now on, for all paths that begin so. */
  fall(how: DiskSickness, prefix: string): void {
    writeFileSync(this.#control, `${how} ${prefix}\n`);
  }

  heal(): void {
    writeFileSync(this.#control, '');
  }
}

/** The folder by which two hosts decide, with a file system of its own. */
export class SickArbiter {
  readonly #folder: LoopFolder;
  #how: ArbiterIllness | null = null;

  constructor(path: string) {
    this.#folder = new LoopFolder(path);
  }

  get path(): string {
    return this.#folder.path;
  }

  /** Hung: who writes there waits, and cannot be killed. Gone: an empty folder. */
  fall(illness: ArbiterIllness): void {
    this.#how = illness;
    if (illness === 'arbiter hung') this.#folder.freeze();
    else if (illness === 'arbiter gone') this.#folder.unmount();
    else this.#folder.remount('ro');
  }

  heal(): void {
    if (this.#how === 'arbiter hung') this.#folder.thaw();
    else if (this.#how === 'arbiter gone') this.#folder.mount();
    else if (this.#how !== null) this.#folder.remount('rw');
    this.#how = null;
  }

  remove(): void {
    this.#folder.remove();
  }
}

/** One thread of a process that stands still, as long as this one lives. */
export class StoppedThread {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.on('close', resolve));
  }

  /** @param name of the thread; null: the process's first, which runs JavaScript */
  static async stop(dir: string, pid: number, name: string | null): Promise<StoppedThread> {
    const program = build(dir, 'stop-thread', []);
    const tid = name === null ? pid : threadOf(pid, name);
    const child = spawn(program, [String(tid)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const stopped = new StoppedThread(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('close', (code) => reject(new Error(`stop-thread: exit code ${code}`)));
    });
    return stopped;
  }

  async goOn(): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
  }
}

function threadOf(pid: number, name: string): number {
  const tasks = `/proc/${pid}/task`;
  const tid = readdirSync(tasks).find(
    (task) => readFileSync(join(tasks, task, 'comm'), 'utf8').trim() === name,
  );
  if (tid === undefined) throw new Error(`process ${pid} has no thread ${name}`);
  return Number(tid);
}

function build(dir: string, name: string, how: readonly string[]): string {
  const made = join(dir, how.length === 0 ? name : `${name}.so`);
  const source = join(root, `test/lib/${name}.c`);
  execFileSync('cc', [...how, '-O', '-Wall', '-Werror', '-o', made, source]);
  return made;
}
