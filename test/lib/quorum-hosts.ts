// SPDX-License-Identifier: Apache-2.0
/**
 * A VM of three replicas under the demo's load: each has a folder, an image, a state folder and a
 * tap of its own, on one switch. Their links are the loopback device of the demo's namespace.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { guestPaths } from '#scripts/paths.mjs';
import { type DemoNetwork, ip } from '../../src/lab/netns.ts';
import { command } from './command.ts';
import { ask, sleep } from './fake-vm-pair.ts';
import type { HostStatus } from './two-hosts.ts';

interface Daemon {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  over: boolean;
  stderr: string;
}

export interface QuorumHostsOptions {
  readonly dir: string;
  readonly network: DemoNetwork;
  /** More lines of [replication], of one of them: from 1. */
  readonly replication?: (id: number) => readonly string[];
}

const NAME = 'vm';
const ANSWER_MS_MAX = 5000;
export const IDS: readonly number[] = [1, 2, 3];

export class QuorumHosts {
  readonly #o: QuorumHostsOptions;
  readonly #daemons = new Map<number, Daemon>();

  constructor(options: QuorumHostsOptions) {
    this.#o = options;
    const inside = (...words: string[]): void => ip('-n', options.network.name, ...words);
    for (const id of IDS) {
      const tap = `tap-replica${id}`;
      inside('tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr');
      inside('link', 'set', tap, 'master', 'br0');
      inside('link', 'set', tap, 'up');
      this.#write(id, tap);
    }
  }

  #write(id: number, tap: string): void {
    const { dir, network, replication = () => [] } = this.#o;
    const guest = guestPaths();
    if (guest === undefined) throw new Error('the reference guest is not built');
    const own = join(dir, String(id));
    mkdirSync(own, { recursive: true });
    execFileSync('cp', ['--sparse=always', guest.diskTemplate, join(own, 'disk.raw')]);
    const words = `us.run=server us.ip=${network.guestAddress}/24 us.disk=1`;
    const replicas = IDS.map((one) => `"127.0.0.1:${7700 + one}"`).join(', ');
    const lines = [
      `name = "${NAME}"\nmemory = "128M"`,
      `kernel = "${guest.kernel}"\ninitrd = "${guest.initrd}"`,
      `append = "${guest.append} ${words}"`,
      '[[disk]]\nimage = "disk.raw"',
      `[[nic]]\nmac = "52:54:00:12:34:56"\ntap = "${tap}"`,
      `[replication]\nprotocol = "quorum"\nreplicas = [${replicas}]`,
      ...replication(id),
    ];
    writeFileSync(join(own, 'VM.toml'), `${lines.join('\n')}\n`);
  }

  image(id: number): string {
    return join(this.#o.dir, String(id), 'disk.raw');
  }

  stateDir(id: number): string {
    return join(this.#o.dir, String(id), 'state', `${NAME}-replica`);
  }

  start(id: number): void {
    const { network, dir } = this.#o;
    const words = [process.execPath, command, 'replica', join(dir, String(id), 'VM.toml')];
    const [file = '', ...rest] = [
      ...network.prefix,
      ...words,
      '--address',
      `127.0.0.1:${7700 + id}`,
    ];
    const child = spawn(file, rest, {
      env: {
        ...process.env,
        UNDERSTUDY_STATE_DIR: join(dir, String(id), 'state'),
        UNDERSTUDY_CATALOG_DIR: 'off',
        NO_COLOR: '1',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = new Promise<number | null>((resolve) => {
      child.on('close', (code) => {
        daemon.over = true;
        resolve(code);
      });
    });
    const daemon: Daemon = { child, ended, over: false, stderr: '' };
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      daemon.stderr += text;
    });
    this.#daemons.set(id, daemon);
  }

  async status(id: number): Promise<HostStatus | null> {
    if (this.#daemons.get(id)?.over !== false) return null;
    const socket = join(this.stateDir(id), 'status.sock');
    if (!existsSync(socket)) return null;
    const answer = await Promise.race([ask(socket, { cmd: 'status' }), sleep(ANSWER_MS_MAX)]);
    return (answer?.status as HostStatus | undefined) ?? null;
  }

  async command(id: number, request: object): Promise<Record<string, unknown> | null> {
    return ask(join(this.stateDir(id), 'status.sock'), request);
  }

  /** @returns the ids of those that are in that state, once so many are */
  async until(state: string, count: number, timeoutMs: number, among = IDS): Promise<number[]> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const all = await Promise.all(among.map((id) => this.status(id)));
      const found = among.filter((_, i) => all[i]?.state === state);
      if (found.length >= count) return found;
      if (performance.now() > deadlineMs) {
        throw new Error(`${found.length} of ${count} are ${state}:\n${await this.describe()}`);
      }
      await sleep(20);
    }
  }

  async describe(): Promise<string> {
    const said = await Promise.all(
      IDS.map(async (id) => {
        const status = await this.status(id);
        const words = this.#daemons.get(id)?.stderr.trim().split('\n').slice(-14).join('\n  ');
        return `replica ${id}: ${status?.state ?? 'gone'} (${status?.reason ?? '-'})\n  ${words}`;
      }),
    );
    return said.join('\n');
  }

  stderr(id: number): string {
    return this.#daemons.get(id)?.stderr ?? '';
  }

  console(id: number): string {
    const path = join(this.stateDir(id), 'console.log');
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }

  /** Until the guest's service can be connected to. */
  async serving(id: number, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!this.console(id).includes('us-server: listening')) {
      if (performance.now() > deadlineMs) throw new Error(await this.describe());
      await sleep(50);
    }
  }

  /** The daemon and its QEMU, as when the power fails. */
  async crash(id: number): Promise<void> {
    const status = await this.status(id);
    if (status?.qemu_pid) process.kill(status.qemu_pid, 'SIGKILL');
    const daemon = this.#daemons.get(id);
    daemon?.child.kill('SIGKILL');
    await daemon?.ended;
  }

  signal(id: number, name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#daemons.get(id)?.child.kill(name);
  }

  async ended(id: number): Promise<number | null> {
    return (await this.#daemons.get(id)?.ended) ?? null;
  }

  async destroy(): Promise<void> {
    for (const { child } of this.#daemons.values()) child.kill('SIGKILL');
    await Promise.all([...this.#daemons.values()].map(({ ended }) => ended));
  }
}
