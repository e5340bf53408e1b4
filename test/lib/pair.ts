// SPDX-License-Identifier: Apache-2.0
/** A protected VM from the built command, on one bridge with two taps: for tests of the pair. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Running, runJson, start } from './command.ts';
import type { Guest } from './workloads.ts';

export type Side = 'primary' | 'backup';
type Status = Record<string, unknown>;

const SIDES = ['primary', 'backup'] as const;
const NAME = 'pair';

export class Pair {
  readonly netns: string;
  readonly guestIp = '10.77.0.2';
  readonly #dir: string;
  readonly #daemons = new Map<Side, Running>();

  private constructor(dir: string, netns: string) {
    this.#dir = dir;
    this.netns = netns;
  }

  /**
   * @param replication further lines of VM.toml's [replication]
   * @returns null when this host or user cannot make a network namespace
   */
  static start(dir: string, guest: Guest, replication: readonly string[]): Pair | null {
    const netns = `us-pair-${process.pid}`;
    try {
      execFileSync('ip', ['netns', 'add', netns], { stdio: 'ignore' });
    } catch {
      return null;
    }
    const pair = new Pair(dir, netns);
    const ip = (...words: string[]): void => {
      execFileSync('ip', ['-n', netns, ...words], { stdio: 'ignore' });
    };
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
    for (const side of SIDES) {
      ip('tuntap', 'add', 'dev', `tap-${side}`, 'mode', 'tap');
      ip('link', 'set', `tap-${side}`, 'master', 'br0', 'up');
    }
    ip('addr', 'add', '10.77.0.1/24', 'dev', 'br0');
    ip('link', 'set', 'br0', 'up');
    for (const side of SIDES) pair.#startDaemon(side, guest, replication);
    return pair;
  }

  #startDaemon(side: Side, guest: Guest, replication: readonly string[]): void {
    const folder = join(this.#dir, side);
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(this.#dir, 'arbiter'), { recursive: true });
    execFileSync('cp', ['--sparse=always', guest.disk_template, join(folder, 'disk.raw')]);
    const append = `${guest.append} us.run=server us.disk=1 us.ip=${this.guestIp}/24`;
    const lines = [
      `name = "${NAME}"`,
      'memory = "128M"',
      `kernel = ${JSON.stringify(guest.kernel)}`,
      `initrd = ${JSON.stringify(guest.initrd)}`,
      `append = ${JSON.stringify(append)}`,
      '[[disk]]',
      'image = "disk.raw"',
      '[[nic]]',
      `tap = "tap-${side}"`,
      '[replication]',
      'primary = "127.0.0.1:7700"',
      `arbiter = ${JSON.stringify(`dir:${join(this.#dir, 'arbiter')}`)}`,
      ...replication,
    ];
    writeFileSync(join(folder, 'VM.toml'), `${lines.join('\n')}\n`);
    const daemon = start([side, join(folder, 'VM.toml')], {
      prefix: ['ip', 'netns', 'exec', this.netns],
      env: { UNDERSTUDY_STATE_DIR: this.#stateRoot },
    });
    this.#daemons.set(side, daemon);
  }

  get #stateRoot(): string {
    return join(this.#dir, 'state');
  }

  /** `ip netns exec` becomes the daemon: the pid is the daemon's. */
  signal(side: Side, signal: NodeJS.Signals): void {
    this.#daemons.get(side)?.child.kill(signal);
  }

  async status(side: Side): Promise<Status | null> {
    const words = ['status', NAME, '--state-dir', this.#stateRoot];
    const { json } = await runJson(words);
    const daemons = json.daemons as Status[];
    return daemons.find(({ role }) => role === side) ?? null;
  }

  console(side: Side): string {
    try {
      return readFileSync(join(this.#stateRoot, `${NAME}-${side}`, 'console.log'), 'latin1');
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

  /** Packets that came out of this side's tap, as the kernel at its other end counts them. */
  packetsFrom(side: Side): number {
    const words = ['-n', this.netns, '-s', '-json', 'link', 'show', `tap-${side}`];
    const [link] = JSON.parse(execFileSync('ip', words, { encoding: 'utf8' })) as {
      stats64: { rx: { packets: number } };
    }[];
    return link?.stats64.rx.packets ?? 0;
  }

  /** A TCP connection from the bridge to the guest. */
  connect(port: number): Wire {
    return new Wire(this.netns, this.guestIp, port);
  }

  async end(): Promise<void> {
    for (const { child } of this.#daemons.values()) child.kill('SIGKILL');
    await Promise.all([...this.#daemons.values()].map(({ done }) => done));
    execFileSync('ip', ['netns', 'delete', this.netns]);
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

  constructor(netns: string, host: string, port: number) {
    const words = ['netns', 'exec', netns, process.execPath, '-e', PIPE, host, String(port)];
    const child = spawn('ip', words, { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => {});
    child.stdout.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
    });
    child.stderr.on('data', (bytes: Buffer) => {
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
