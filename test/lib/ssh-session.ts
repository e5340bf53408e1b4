// SPDX-License-Identifier: Apache-2.0
/** One ssh connection to a guest, with a shell on a terminal, and somebody who types. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { DebianGuest } from '../../scripts/steps/test-debian.mjs';
import { sleep } from './fake-vm-pair.ts';

/** An echo that came, CLOCK_REALTIME. */
interface Echo {
  readonly atMs: number;
  /** Length of what is shown from then on. */
  readonly length: number;
}

/** What was typed and what came of it. */
export interface Typed {
  readonly lines: number;
  /** '' when each line was echoed once, whole and in its order, and nothing else was. */
  readonly problem: string;
  /** The longest time between two echoes of which the second came after `sinceMs`. */
  gapMs(sinceMs?: number, untilMs?: number): number;
  /** From a line's typing to its echo, for the lines of that time. */
  medianMs(untilMs: number): number;
}

const LINE_EVERY_MS = 20;
const ANSWER_MS = 60_000;
const nowMs = (): number => performance.timeOrigin + performance.now();

export class SshSession {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  readonly #echoes: Echo[] = [];
  #shown = '';
  #stderr = '';
  #over = false;

  private constructor(prefix: readonly string[], guest: DebianGuest, address: string) {
    const options = ['BatchMode=yes', 'IdentitiesOnly=yes', 'ConnectTimeout=60'];
    options.push('StrictHostKeyChecking=yes', `UserKnownHostsFile=${guest.knownHosts}`);
    const words = ['-F', 'none', '-tt', '-i', guest.key, ...options.flatMap((one) => ['-o', one])];
    const [file = '', ...rest] = [...prefix, 'ssh', ...words, `root@${address}`];
    // A dumb terminal: the shell writes nothing but what it is told to.
    this.#child = spawn(file, rest, { env: { ...process.env, TERM: 'dumb' } });
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        this.#over = true;
        resolve(code);
      });
    });
    this.#child.stdin?.on('error', () => {}); // it ends before it reads
    this.#child.stdout?.setEncoding('latin1').on('data', (text: string) => {
      this.#shown += text;
      this.#echoes.push({ atMs: nowMs(), length: this.#shown.length });
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
  }

  /** Logs in; its shell waits for a command, and echoes none. */
  static async open(
    prefix: readonly string[],
    guest: DebianGuest,
    address: string,
  ): Promise<SshSession> {
    const session = new SshSession(prefix, guest, address);
    try {
      session.#type('stty -echo; PS1=; echo ready-$((6 * 7))\n');
      await session.#until('ready-42\r\n');
    } catch (error) {
      session.kill();
      throw error;
    }
    return session;
  }

  /** Runs a command in its shell. @returns what it prints */
  async ask(command: string): Promise<string> {
    const from = this.#shown.length;
    this.#type(`${command}; echo asked\n`);
    await this.#until('asked\r\n', from);
    return this.#shown.slice(from, -'asked\r\n'.length).trim();
  }

  /** Types numbered lines into `cat` for as long as `during` takes. */
  async type(during: () => Promise<void>): Promise<Typed> {
    const from = this.#shown.length;
    const first = this.#echoes.length;
    const typedAt: number[] = [];
    this.#type('cat\n');
    await sleep(200); // it reads the terminal by then
    const timer = setInterval(() => {
      typedAt.push(nowMs());
      this.#type(lineOf(typedAt.length));
    }, LINE_EVERY_MS);
    try {
      await during();
    } finally {
      clearInterval(timer);
    }
    const expected = typedAt.map((_, index) => lineOf(index + 1)).join('');
    this.#type('last\n');
    let problem = '';
    try {
      await this.#until('last\r\n', from);
    } catch (error) {
      problem = `${error instanceof Error ? error.message : error}; `;
    }
    const shown = this.#shown.slice(from).replaceAll('\r\n', '\n');
    problem += difference(`${expected}last\n`, shown);
    this.#type('\x04'); // the end of cat's input
    const echoes = this.#echoes.slice(first);
    // What did not come makes a gap that lasts until now.
    if (problem !== '') echoes.push({ atMs: nowMs(), length: from });
    return {
      lines: typedAt.length,
      problem,
      gapMs: (sinceMs = 0, untilMs = Number.POSITIVE_INFINITY) => longest(echoes, sinceMs, untilMs),
      medianMs: (untilMs) => median(roundTrips(typedAt, echoes, from), typedAt, untilMs),
    };
  }

  /** Leaves its shell. @returns ssh's exit code: the shell's, or 255 for a broken connection */
  async leave(): Promise<number | null> {
    this.#type('exit 0\n');
    const timer = setTimeout(() => this.kill(), ANSWER_MS);
    const code = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #type(text: string): void {
    this.#child.stdin?.write(text);
  }

  async #until(text: string, from = 0): Promise<void> {
    const deadlineMs = nowMs() + ANSWER_MS;
    while (!this.#shown.includes(text, from)) {
      if (this.#over) throw new Error(`ssh ended: ${this.#stderr.trim()}`);
      if (nowMs() > deadlineMs) {
        const last = JSON.stringify(this.#shown.slice(from).slice(-200));
        throw new Error(`no ${JSON.stringify(text)} from ssh, but ${last} ${this.#stderr.trim()}`);
      }
      await sleep(5);
    }
  }
}

/** A line as it is typed and echoed, a newline's `\r` apart. */
function lineOf(number: number): string {
  return `line ${number} ${'abcdefghijklmnopqrstuvwxyz'.slice(number % 26)}\n`;
}

/** Where the two first differ; '' when they do not. */
function difference(expected: string, shown: string): string {
  if (shown === expected) return '';
  let at = 0;
  while (shown[at] === expected[at]) at += 1;
  const around = (text: string): string =>
    JSON.stringify(text.slice(Math.max(0, at - 20), at + 20));
  return `at character ${at} ${around(expected)} was typed, and ${around(shown)} came back`;
}

function longest(echoes: readonly Echo[], sinceMs: number, untilMs: number): number {
  let gap = 0;
  for (const [index, { atMs }] of echoes.entries()) {
    const before = echoes[index - 1]?.atMs ?? atMs;
    if (atMs >= sinceMs && atMs <= untilMs) gap = Math.max(gap, atMs - before);
  }
  return gap;
}

/** For each line, the time until its last character was shown; NaN when it never was. */
function roundTrips(typedAt: readonly number[], echoes: readonly Echo[], from: number): number[] {
  let end = from;
  let next = 0;
  return typedAt.map((atMs, index) => {
    end += lineOf(index + 1).length + 1;
    while ((echoes[next]?.length ?? Number.POSITIVE_INFINITY) < end) next += 1;
    return (echoes[next]?.atMs ?? Number.NaN) - atMs;
  });
}

function median(times: readonly number[], typedAt: readonly number[], untilMs: number): number {
  const known = times
    .filter((ms, index) => !Number.isNaN(ms) && (typedAt[index] ?? 0) < untilMs)
    .sort((a, b) => a - b);
  return known[Math.floor(known.length / 2)] ?? Number.NaN;
}
