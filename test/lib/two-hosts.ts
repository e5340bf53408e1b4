// SPDX-License-Identifier: Apache-2.0
/**
 * A protected VM on two hosts that die and come back, under the demo's load: each host
 * has a folder, an image and a state folder of its own, and runs a daemon or none. The
 * network is the demo's (src/lab/netns.ts).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { guestPaths } from '#scripts/paths.mjs';
import type { ClientEvent, ClientResult } from '../../src/lab/client-events.ts';
import type { DemoNetwork } from '../../src/lab/netns.ts';
import { command, root } from './command.ts';
import { ask, sleep } from './fake-vm-pair.ts';

export type Host = 'a' | 'b';
export const HOSTS: readonly Host[] = ['a', 'b'];
export const other = (host: Host): Host => (host === 'a' ? 'b' : 'a');

/** Steps of a join, as `status` of the side that leads says them, in their order. */
export const JOIN_STEPS = [
  'it says what it has',
  'copying disks',
  'taking a checkpoint',
  'copying memory',
  "waiting for the backup's QEMU",
  'it replays what was executed meanwhile',
] as const;

export interface HostStatus {
  readonly state: string;
  readonly reason: string;
  readonly pid: number;
  readonly qemu_pid: number | null;
  readonly term: number;
  readonly outputs_stopped: string | null;
  readonly clock_skew_ms: number | null;
  readonly guest_clock_behind_ms: number | null;
  readonly failover: {
    readonly reason: string;
    readonly detect_ms: number;
    readonly total_ms: number | null;
  } | null;
  readonly backup_lost: { readonly reason: string } | null;
  readonly sick: string | null;
  readonly disk_error: string | null;
  readonly arbiter_problem: string | null;
}

interface Daemon {
  readonly role: 'primary' | 'backup';
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  over: boolean;
  stderr: string;
}

export interface TwoHostsOptions {
  readonly dir: string;
  readonly network: DemoNetwork;
  readonly memory?: string;
  /** Size of the disk in MiB: the reference guest's template grown to it, and filled with noise. */
  readonly diskMib?: number;
  /** The guest computes beside its service. */
  readonly busy?: boolean;
  /** A shell at its console and no service. */
  readonly shell?: boolean;
  /** Default: the reference guest's. */
  readonly initrd?: string;
  /** Image of its disk; default: the reference guest's. */
  readonly disk?: string;
  /** What its kernel is told besides; default: what the reference guest runs. */
  readonly words?: string;
  /** More lines of VM.toml, before its tables. */
  readonly machine?: string;
  /** The arbiter's folder; default: one in `dir`. */
  readonly arbiter?: string;
  /** More lines of [replication]. */
  readonly replication?: readonly string[];
  /** Environment of the daemons. */
  readonly env?: Readonly<Record<string, string>>;
  /** Environment of one host's daemon. */
  readonly hostEnv?: Readonly<Partial<Record<Host, Readonly<Record<string, string>>>>>;
}

const NAME = 'vm';
const ANSWER_MS_MAX = 5000;

export class TwoHosts {
  readonly #o: TwoHostsOptions;
  readonly #daemons = new Map<Host, Daemon>();

  constructor(options: TwoHostsOptions) {
    this.#o = options;
    mkdirSync(this.#arbiter, { recursive: true });
    for (const host of HOSTS) this.#write(host);
  }

  #write(host: Host): void {
    const { dir, network, memory = '128M', diskMib, machine = '' } = this.#o;
    const { busy = false, shell = busy } = this.#o;
    const guest = guestPaths();
    if (guest === undefined) throw new Error('the reference guest is not built');
    mkdirSync(join(dir, host), { recursive: true });
    const { disk = guest.diskTemplate } = this.#o;
    const from = host === 'a' ? disk : this.image('a');
    execFileSync('cp', ['--sparse=always', from, this.image(host)]);
    if (host === 'a' && diskMib !== undefined) fill(this.image(host), diskMib, dir);
    const runs = shell ? 'shell' : 'server';
    const { words = `us.run=${runs} us.ip=${network.guestAddress}/24 us.disk=1` } = this.#o;
    const lines = [
      `name = "${NAME}"`,
      `memory = "${memory}"`,
      `kernel = "${guest.kernel}"`,
      `initrd = "${this.#o.initrd ?? guest.initrd}"`,
      `append = "${guest.append} ${words}"`,
      machine,
      '[[disk]]\nimage = "disk.raw"',
      `[[nic]]\nmac = "52:54:00:12:34:56"\ntap = "${host === 'a' ? network.tap.primary : network.tap.backup}"`,
      '[replication]\nprimary = "127.0.0.1:7700"\nbackup = "127.0.0.1:7701"',
      `arbiter = "dir:${this.#arbiter}"`,
      ...(this.#o.replication ?? []),
    ];
    writeFileSync(join(dir, host, 'VM.toml'), `${lines.join('\n')}\n`);
  }

  get #arbiter(): string {
    return this.#o.arbiter ?? join(this.#o.dir, 'arbiter');
  }

  /** Words that run a command in their network. */
  get prefix(): readonly string[] {
    return this.#o.network.prefix;
  }

  image(host: Host): string {
    return join(this.#o.dir, host, 'disk.raw');
  }

  toml(host: Host): string {
    return join(this.#o.dir, host, 'VM.toml');
  }

  /** Where the state folders are there. */
  stateRoot(host: Host): string {
    return join(this.#o.dir, host, 'state');
  }

  stateDir(host: Host): string {
    const role = this.#daemons.get(host)?.role ?? 'backup';
    return join(this.stateRoot(host), `${NAME}-${role}`);
  }

  /** What its daemon has said so far. */
  stderr(host: Host): string {
    return this.#daemons.get(host)?.stderr ?? '';
  }

  /** @param options further ones, of the command */
  start(host: Host, role: Daemon['role'], ...options: string[]): void {
    const { network } = this.#o;
    const words = [process.execPath, command, role, this.toml(host), ...options];
    const [file = '', ...rest] = [...network.prefix, ...words];
    const child = spawn(file, rest, {
      env: {
        ...process.env,
        UNDERSTUDY_STATE_DIR: this.stateRoot(host),
        UNDERSTUDY_CATALOG_DIR: 'off',
        NO_COLOR: '1',
        ...this.#o.env,
        ...this.#o.hostEnv?.[host],
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = new Promise<number | null>((resolve) => {
      child.on('close', (code) => {
        daemon.over = true;
        resolve(code);
      });
    });
    const daemon: Daemon = { role, child, ended, over: false, stderr: '' };
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      daemon.stderr += text;
    });
    this.#daemons.set(host, daemon);
  }

  async status(host: Host): Promise<HostStatus | null> {
    if (this.#daemons.get(host)?.over !== false) return null;
    const socket = join(this.stateDir(host), 'status.sock');
    // One that is stopped never answers.
    const answer = await Promise.race([ask(socket, { cmd: 'status' }), sleep(ANSWER_MS_MAX)]);
    return (answer?.status as HostStatus | undefined) ?? null;
  }

  async command(host: Host, request: object): Promise<Record<string, unknown> | null> {
    return ask(join(this.stateDir(host), 'status.sock'), request);
  }

  /** @throws Error with what both sides say when it does not get there */
  async until(host: Host, state: string, timeoutMs: number): Promise<HostStatus> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const status = await this.status(host);
      if (status?.state === state) return status;
      const gone = this.#daemons.get(host)?.over === true;
      if (gone || performance.now() > deadlineMs) {
        const said = await Promise.all(HOSTS.map((one) => this.#describe(one)));
        throw new Error(`host ${host} is not ${state}:\n${said.join('\n')}`);
      }
      await sleep(10);
    }
  }

  async #describe(host: Host): Promise<string> {
    const status = await this.status(host);
    const words = this.#daemons.get(host)?.stderr.trim().split('\n').slice(-8).join('\n  ') ?? '';
    return `host ${host}: ${status?.state ?? 'gone'} (${status?.reason ?? '-'})\n  ${words}`;
  }

  /** Until the guest's service can be connected to. */
  async serving(host: Host, timeoutMs: number): Promise<void> {
    if (this.#o.busy === true) {
      await this.said(host, 'guest# ', timeoutMs);
      const text =
        'us-server & while :; do head -c 1000000 /dev/zero | md5sum; done >/dev/null &\n';
      await this.command(host, { cmd: 'console-input', text });
    }
    await this.said(host, 'us-server: listening', timeoutMs);
  }

  /** Until the guest's console has the text, so many times. */
  async said(host: Host, text: string, timeoutMs: number, times = 1): Promise<void> {
    const console = join(this.stateDir(host), 'console.log');
    const deadlineMs = performance.now() + timeoutMs;
    while (readFileSync(console, 'latin1').split(text).length <= times) {
      if (performance.now() > deadlineMs) throw new Error(await this.#describe(host));
      await sleep(50);
    }
  }

  /** The daemon and its QEMU, as when the power fails. */
  async crash(host: Host): Promise<void> {
    const status = await this.status(host);
    const daemon = this.#daemons.get(host);
    if (status?.qemu_pid) kill(status.qemu_pid, this.#o.dir);
    daemon?.child.kill('SIGKILL');
    await daemon?.ended;
  }

  /** Both daemons and their QEMUs, at one moment. */
  async crashAll(): Promise<void> {
    const all = await Promise.all(HOSTS.map((host) => this.status(host)));
    for (const status of all) if (status?.qemu_pid) kill(status.qemu_pid, this.#o.dir);
    for (const { child } of this.#daemons.values()) child.kill('SIGKILL');
    await Promise.all([...this.#daemons.values()].map(({ ended }) => ended));
  }

  /** @returns its exit code */
  async ended(host: Host): Promise<number | null> {
    return (await this.#daemons.get(host)?.ended) ?? null;
  }

  async destroy(): Promise<void> {
    for (const { child } of this.#daemons.values()) child.kill('SIGKILL');
    await Promise.all([...this.#daemons.values()].map(({ ended }) => ended));
  }
}

/** Grows the file system in the image, and leaves a tenth of it free. */
function fill(image: string, mib: number, dir: string): void {
  const noise = join(dir, 'noise');
  execFileSync('truncate', ['-s', `${mib}M`, image]);
  execFileSync('resize2fs', ['-f', image], { stdio: 'ignore' });
  const words = ['if=/dev/urandom', `of=${noise}`, 'bs=1M', `count=${Math.floor(mib * 0.85)}`];
  execFileSync('dd', words, { stdio: 'ignore' });
  execFileSync('debugfs', ['-w', '-R', `write ${noise} noise`, image], { stdio: 'ignore' });
  rmSync(noise);
}

/** That QEMU and no later process of its number. */
function kill(pid: number, dir: string): void {
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dir)) process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

/** The demo's client: one connection, every byte checked. */
export class Client {
  readonly gaps: { readonly fromMs: number; readonly ms: number }[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #result: ClientResult | null = null;
  #connected = false;
  #answered = 0;

  constructor(network: DemoNetwork, seed: number, ratePerS = 200, window = 4) {
    const program = join(root, 'dist', 'src', 'lab', 'client.js');
    const settings = [seed, ratePerS, window].map(String);
    const words = [...network.prefix, process.execPath, program, network.guestAddress, '7'];
    const [file = '', ...rest] = [...words, ...settings];
    this.#child = spawn(file, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ended = new Promise((resolve) => this.#child.on('close', resolve));
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('a pipe was asked for');
    createInterface(stdout).on('line', (line) => {
      const event = JSON.parse(line) as ClientEvent;
      if (event.event === 'connected') this.#connected = true;
      if (event.event === 'progress') this.#answered = event.answered;
      if (event.event === 'gap') this.gaps.push({ fromMs: event.from_ms, ms: event.ms });
      if (event.event === 'result') this.#result = event;
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Requests, as of its last report. */
  get answered(): number {
    return this.#answered;
  }

  /** No answer came between the two. */
  wasSilent(fromMs: number, endMs: number): boolean {
    return this.gaps.some((gap) => gap.fromMs <= fromMs && gap.fromMs + gap.ms >= endMs);
  }

  /** The longest time without an answer after `sinceMs`: what was before does not count. */
  silentMs(sinceMs: number): number {
    const after = this.gaps.map(({ fromMs, ms }) => fromMs + ms - Math.max(fromMs, sinceMs));
    return Math.max(0, ...after);
  }

  /** The longest time without an answer that ended after `sinceMs` (CLOCK_REALTIME). */
  stallMs(sinceMs: number): number {
    const after = this.gaps.filter(({ fromMs, ms }) => fromMs + ms >= sinceMs);
    return Math.max(0, ...after.map(({ ms }) => ms));
  }

  async finish(): Promise<ClientResult> {
    this.#child.stdin?.write('stop\n');
    const timer = setTimeout(() => this.kill(), 15_000);
    await this.#ended;
    clearTimeout(timer);
    if (this.#result === null) throw new Error('the client gave no result');
    return this.#result;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
