// SPDX-License-Identifier: Apache-2.0
/** A protected VM from the built command, on one bridge with two taps: for tests of the pair. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ended, type Running, start } from './command.ts';
import { PATIENT } from './patience.ts';
import type { Guest } from './workloads.ts';

export type Side = 'primary' | 'backup';
type Status = Record<string, unknown>;

export interface PairOptions {
  /** Further variables of a daemon's environment. */
  readonly env?: Readonly<Partial<Record<Side, Readonly<Record<string, string>>>>>;
  /** Words for the guest's init; default: its service, with the disk. */
  readonly runs?: string;
  /** Lines of VM.toml before its tables. */
  readonly vm?: readonly string[];
  /**
   * three: hosts with a switch each, on the client's, all of which learn; to-both: one, that sends
   * the VM's frames to both sides always. Default: one that learns.
   */
  readonly switches?: 'three' | 'to-both';
}

/** What came out of a tap. */
export interface Left {
  readonly packets: number;
  readonly bytes: number;
}

const SIDES = ['primary', 'backup'] as const;
const NAME = 'pair';
const NETNS = /^us-pair-(\d+)-\d+$/;
let made = 0;
const living = new Set<Pair>();

export class Pair {
  readonly netns: string;
  readonly guestIp = '10.77.0.2';
  readonly #dir: string;
  readonly #daemons = new Map<Side, Running>();
  readonly #clients: ChildProcess[] = [];

  private constructor(dir: string, netns: string) {
    this.#dir = dir;
    this.netns = netns;
    execFileSync('ip', ['netns', 'add', netns], { stdio: 'ignore' });
    living.add(this);
  }

  /**
   * @param dir must not be used by another pair
   * @param replication further lines of VM.toml's [replication]
   */
  static start(
    dir: string,
    guest: Guest,
    replication: readonly string[],
    options: PairOptions = {},
  ): Pair {
    if (process.getuid?.() !== 0) {
      throw new Error('this test makes a network namespace, taps and a bridge: run it as root');
    }
    sweep();
    made += 1;
    const pair = new Pair(dir, `us-pair-${process.pid}-${made}`);
    try {
      pair.#makeNetwork(options.switches);
      for (const side of SIDES) pair.#startDaemon(side, guest, replication, options);
    } catch (error) {
      pair.endNow();
      throw error;
    }
    return pair;
  }

  #makeNetwork(switches: PairOptions['switches']): void {
    const three = switches === 'three';
    const ip = (...words: string[]): void => this.ip(...words);
    const addBridge = (name: string): void => {
      ip('link', 'add', name, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
      ip('link', 'set', name, 'up');
    };
    ip('link', 'set', 'lo', 'up');
    addBridge('br0');
    for (const side of SIDES) {
      ip('tuntap', 'add', 'dev', `tap-${side}`, 'mode', 'tap');
      if (three) {
        addBridge(`br-${side}`);
        ip('link', 'add', `to-${side}`, 'type', 'veth', 'peer', 'name', `of-${side}`);
        ip('link', 'set', `to-${side}`, 'master', 'br0', 'up');
        ip('link', 'set', `of-${side}`, 'master', `br-${side}`, 'up');
      }
      ip('link', 'set', `tap-${side}`, 'master', three ? `br-${side}` : 'br0', 'up');
      if (switches !== 'to-both') continue;
      ip('link', 'set', `tap-${side}`, 'type', 'bridge_slave', 'learning', 'off');
    }
    ip('addr', 'add', '10.77.0.1/24', 'dev', 'br0');
  }

  /** The `ip` command in the pair's network. */
  ip(...words: string[]): void {
    execFileSync('ip', ['-n', this.netns, ...words], { stdio: 'ignore' });
  }

  /** What another command there prints. */
  async output(...words: string[]): Promise<string> {
    const child = this.spawn(...words);
    let text = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
    await once(child, 'close');
    return text;
  }

  /** Another command there; it is killed with the pair. */
  spawn(...words: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.netns, ...words], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#clients.push(child);
    return child;
  }

  #startDaemon(
    side: Side,
    guest: Guest,
    replication: readonly string[],
    options: PairOptions,
  ): void {
    const folder = join(this.#dir, side);
    mkdirSync(folder, { recursive: true });
    mkdirSync(this.#arbiter, { recursive: true });
    execFileSync('cp', ['--sparse=always', guest.disk_template, join(folder, 'disk.raw')]);
    const { runs = 'us.run=server us.disk=1' } = options;
    const append = `${guest.append} ${runs} us.ip=${this.guestIp}/24`;
    const isImpatient = replication.some((line) => line.startsWith('heartbeat_missed'));
    const lines = [
      `name = "${NAME}"`,
      'memory = "128M"',
      ...(options.vm ?? []),
      `kernel = ${JSON.stringify(guest.kernel)}`,
      `initrd = ${JSON.stringify(guest.initrd)}`,
      `append = ${JSON.stringify(append)}`,
      '[[disk]]',
      'image = "disk.raw"',
      '[[nic]]',
      `tap = "tap-${side}"`,
      '[replication]',
      'primary = "127.0.0.1:7700"',
      `arbiter = ${JSON.stringify(`dir:${this.#arbiter}`)}`,
      ...(isImpatient ? [] : [PATIENT]), // before them: they may end in a table of their own
      ...replication,
    ];
    writeFileSync(join(folder, 'VM.toml'), `${lines.join('\n')}\n`);
    const daemon = start([side, join(folder, 'VM.toml')], {
      prefix: ['ip', 'netns', 'exec', this.netns],
      env: { UNDERSTUDY_STATE_DIR: join(this.#dir, 'state'), ...options.env?.[side] },
    });
    this.#daemons.set(side, daemon);
  }

  get #arbiter(): string {
    return join(this.#dir, 'arbiter');
  }

  /** The state folder of one daemon. */
  stateDir(side: Side): string {
    return join(this.#dir, 'state', `${NAME}-${side}`);
  }

  /** Neither side can win the fence while the arbiter is away. */
  hideArbiter(): void {
    renameSync(this.#arbiter, `${this.#arbiter}-away`);
  }

  showArbiter(): void {
    renameSync(`${this.#arbiter}-away`, this.#arbiter);
  }

  /** `ip netns exec` becomes the daemon: the pid is the daemon's. */
  signal(side: Side, signal: NodeJS.Signals): void {
    this.#daemons.get(side)?.child.kill(signal);
  }

  /** When the daemon has ended. */
  ended(side: Side): Promise<Ended> {
    const daemon = this.#daemons.get(side);
    if (daemon === undefined) throw new Error(`the ${side} was not started`);
    return daemon.done;
  }

  /** Null when the daemon is gone. Asks its socket: a command for each look is slow. */
  async status(side: Side): Promise<Status | null> {
    const answer = await this.#ask(side, { cmd: 'status' });
    return answer === null ? null : (answer.status as Status);
  }

  /** At the guest's console. */
  async type(side: Side, text: string): Promise<void> {
    const answer = await this.#ask(side, { cmd: 'console-input', text });
    if (answer?.ok !== true) throw new Error(`it takes no input: ${JSON.stringify(answer)}`);
  }

  #ask(side: Side, request: object): Promise<Record<string, unknown> | null> {
    return new Promise((resolve) => {
      const socket = createConnection(join(this.stateDir(side), 'status.sock'));
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.endsWith('\n')) socket.end();
      });
      socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
      socket.on('error', () => {});
      socket.on('close', () => resolve(text.endsWith('\n') ? JSON.parse(text) : null));
    });
  }

  console(side: Side): string {
    try {
      return readFileSync(join(this.stateDir(side), 'console.log'), 'latin1');
    } catch {
      return '';
    }
  }

  /** Until the condition holds; fails with its name. */
  async until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 40_000) {
    const untilMs = Date.now() + timeoutMs;
    while (!(await holds())) {
      if (Date.now() > untilMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
      await sleep(50);
    }
  }

  /** What came out of this side's tap, as the kernel at its other end counts it. */
  leftFrom(side: Side): Left {
    const words = ['-n', this.netns, '-s', '-json', 'link', 'show', `tap-${side}`];
    const [link] = JSON.parse(execFileSync('ip', words, { encoding: 'utf8' })) as {
      stats64: { rx: Left };
    }[];
    if (link === undefined) throw new Error(`no tap-${side}`);
    return link.stats64.rx;
  }

  packetsFrom(side: Side): number {
    return this.leftFrom(side).packets;
  }

  /** Runs a client's script beside the bridge: argv[1] is the guest's address. */
  client(script: string, ...words: string[]): ChildProcess {
    return this.spawn(process.execPath, '-e', script, this.guestIp, ...words);
  }

  /** A TCP connection from the bridge to the guest. */
  connect(port: number): Wire {
    return new Wire(this.client(PIPE, String(port)));
  }

  async end(): Promise<void> {
    this.endNow();
    await Promise.all([...this.#daemons.values()].map(({ done }) => done));
  }

  /** Kills what was started, and removes the network. */
  endNow(): void {
    if (!living.delete(this)) return;
    for (const client of this.#clients) client.kill('SIGKILL');
    for (const { child } of this.#daemons.values()) child.kill('SIGKILL');
    execFileSync('ip', ['netns', 'delete', this.netns]);
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const pair of living) pair.endNow();
    process.exit(1);
  });
}

/** Removes the networks of tests that were killed themselves. */
function sweep(): void {
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  for (const name of names) {
    const pid = NETNS.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    execFileSync('ip', ['netns', 'delete', name]);
  }
}

const PIPE =
  "const s=require('net').connect({host:process.argv[1],port:+process.argv[2],noDelay:true});" +
  "s.on('connect',()=>process.stderr.write('connected'));s.on('error',()=>process.exit(1));" +
  "s.on('end',()=>process.exit(0));process.stdin.pipe(s);s.pipe(process.stdout)";

/** What netcat is, with what is here anyway. */
export class Wire {
  readonly #child: ChildProcess;
  received: Buffer = Buffer.alloc(0);
  connected = false;
  closed = false;

  constructor(child: ChildProcess) {
    child.stdin?.on('error', () => {});
    child.stdout?.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      if (bytes.includes('connected')) this.connected = true;
    });
    child.on('close', () => {
      this.closed = true;
    });
    this.#child = child;
  }

  send(bytes: Buffer | string): void {
    this.#child.stdin?.write(bytes);
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}
