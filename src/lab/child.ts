// SPDX-License-Identifier: Apache-2.0
/** A child process of the demo whose output comes as lines, and which dies with the demo. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface ChildOptions {
  readonly words: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (line: string) => void;
  readonly onStderr?: (line: string) => void;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const LINES_KEPT = 30;

export class DemoChild {
  readonly pid: number;
  /** Resolves, never rejects, when it has ended and its output is read. */
  readonly ended: Promise<ChildEnd>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #end: ChildEnd | null = null;

  /**
   * Starts it in a process group of its own, so that Ctrl-C reaches the demo
   * alone; setpriv(1) ties it to us, so that it ends even when we are killed.
   * All of `ip netns exec` and setpriv exec: the pid is the program's.
   */
  constructor(prefix: readonly string[], options: ChildOptions) {
    const [file = '', ...args] = [...prefix, 'setpriv', '--pdeathsig', 'KILL', ...options.words];
    const child = spawn(file, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    child.stdin.on('error', () => {}); // it may end before it reads
    const keep = (line: string): void => {
      this.#lines.push(line);
      if (this.#lines.length > LINES_KEPT) this.#lines.shift();
    };
    createInterface(child.stdout).on('line', (line) => options.onStdout?.(line));
    createInterface(child.stderr).on('line', (line) => {
      keep(line);
      options.onStderr?.(line);
    });
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#end ??= { code, signal };
        resolve(this.#end);
      };
      child.on('error', (error) => {
        keep(error.message);
        end(null, null);
      });
      child.on('exit', (code, signal) => {
        this.#end ??= { code, signal };
      });
      child.on('close', end);
    });
  }

  get end(): ChildEnd | null {
    return this.#end;
  }

  /** The last it said on stderr. */
  get lastWords(): string {
    return this.#lines.join('\n');
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  writeLine(text: string): void {
    this.write(`${text}\n`);
  }

  /** Ends it as Ctrl-C does. */
  interrupt(): void {
    if (this.#end === null) this.#child.kill('SIGINT');
  }

  /** SIGKILL to this very process. Idempotent. */
  kill(): void {
    if (this.#end === null) this.#child.kill('SIGKILL');
  }
}
