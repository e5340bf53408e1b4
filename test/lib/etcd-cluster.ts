// SPDX-License-Identifier: Apache-2.0
/**
 * A real etcd of three members, which can be killed, paused and cut off. Each is on a host of its
 * own: a network namespace on one switch, in the namespace of this process; or, without `hosts`, all
 * are on the loopback device.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { join } from 'node:path';
import { Progress } from '#scripts/lib/progress.mjs';
import { testEtcd } from '#scripts/steps/test-etcd.mjs';
import { NO_ACCESS } from '../../src/arbiter/arbiter.ts';
import { EtcdMembers } from '../../src/arbiter/etcd-members.ts';
import { freePort } from './free-port.ts';

export interface EtcdOptions {
  readonly dir: string;
  /** Each member has a host: needs root, and a network namespace that nobody else uses. */
  readonly hosts?: boolean;
  /** PEM files: what members and clients trust, and what members show to both. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

interface Member {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  readonly dir: string;
  /** Its namespace is kept while it is dead. */
  readonly host: ChildProcess | null;
  process: ChildProcess | null;
}

const MEMBERS = 3;
/** Quick, for a test: an election ends within a second. */
const PACE = ['--heartbeat-interval', '50', '--election-timeout', '500'];
const WELL_MS_MAX = 120_000;

export class EtcdCluster {
  readonly #o: EtcdOptions;
  readonly #program: string;
  readonly #members: Member[] = [];

  private constructor(options: EtcdOptions, program: string) {
    this.#o = options;
    this.#program = program;
  }

  /** All members run, and decide. */
  static async start(options: EtcdOptions): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(options, await testEtcd(new Progress({ quietDone: true })));
    if (options.hosts === true) makeSwitch();
    for (let index = 0; index < MEMBERS; index += 1) await cluster.#add(index);
    for (let index = 0; index < MEMBERS; index += 1) cluster.run(index);
    await cluster.well();
    return cluster;
  }

  /** As VM.toml has them, without "etcd:". */
  get urls(): string {
    return this.#members.map(({ client }) => client).join(',');
  }

  async #add(index: number): Promise<void> {
    const name = `m${index}`;
    const dir = join(this.#o.dir, name);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const host = this.#o.hosts === true ? makeHost(name, index) : null;
    const at = async (port: number): Promise<string> =>
      host === null ? `127.0.0.1:${await freePort()}` : `${addressOf(index)}:${port}`;
    const scheme = this.#o.tls === undefined ? 'http' : 'https';
    const client = `${scheme}://${await at(2379)}`;
    const peer = `http://${await at(2380)}`;
    this.#members.push({ name, client, peer, dir, host, process: null });
  }

  /** Starts a member that does not run. */
  run(index: number): void {
    const member = this.#at(index);
    const { name, client, peer, dir, host } = member;
    const { tls } = this.#o;
    const secured =
      tls === undefined
        ? []
        : [
            ...['--cert-file', tls.cert, '--key-file', tls.key],
            ...['--trusted-ca-file', tls.ca, '--client-cert-auth'],
          ];
    const inside = host === null ? [] : ['nsenter', '-t', String(host.pid), '-n'];
    const words = [
      ...['setpriv', '--pdeathsig', 'KILL', ...inside, this.#program, '--name', name],
      ...['--data-dir', join(dir, 'data'), '--logger', 'zap', '--log-level', 'error', ...PACE],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', this.#members.map((it) => `${it.name}=${it.peer}`).join(',')],
      ...secured,
    ];
    const [file = '', ...rest] = words;
    member.process = spawn(file, rest, { stdio: 'ignore' });
  }

  /** Every member answers, and what it answers a majority has decided. */
  async well(): Promise<void> {
    const access = { ...NO_ACCESS, ...this.#o.tls };
    const deadlineMs = performance.now() + WELL_MS_MAX;
    for (const { client, name } of this.#members) {
      const one = new EtcdMembers([client], access);
      for (;;) {
        try {
          const { errors } = await one.ask('/v3/maintenance/status', {}, 1000);
          if (errors === undefined) break;
          throw new Error(String(errors));
        } catch (error) {
          if (performance.now() > deadlineMs) throw new Error(`${name}: ${String(error)}`);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    }
  }

  /** Its process is gone; resolves when it is. */
  async kill(index: number): Promise<void> {
    const member = this.#at(index);
    const { process } = member;
    member.process = null;
    await ended(process);
  }

  /**
   * All of its threads stand; resolves when they do. The signal is one thread's, which has to run to
   * tell the others: on a busy host they may go on for tenths of a second.
   */
  async pause(index: number): Promise<void> {
    const { process } = this.#at(index);
    process?.kill('SIGSTOP');
    const deadlineMs = performance.now() + WELL_MS_MAX;
    while (process?.pid !== undefined && !stands(process.pid)) {
      if (performance.now() > deadlineMs) throw new Error(`process ${process.pid} does not stop`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  resume(index: number): void {
    this.#at(index).process?.kill('SIGCONT');
  }

  /** Frames from and to its host vanish, and no end is told. */
  cut(index: number): void {
    ip('link', 'set', this.#at(index).name, 'down');
  }

  mend(index: number): void {
    ip('link', 'set', this.#at(index).name, 'up');
  }

  async remove(): Promise<void> {
    for (const { process, host } of this.#members) {
      await ended(process);
      await ended(host);
    }
    rmSync(this.#o.dir, { recursive: true, force: true });
  }

  /**
   * From now on only users are answered: root, and one who may read and write keys that begin with
   * the prefix.
   */
  async enableUsers(user: string, password: string, prefix: string): Promise<void> {
    const ask = async (path: string, question: object): Promise<void> => {
      const deadlineMs = performance.now() + WELL_MS_MAX;
      // Without a leader for a moment it may be done all the same.
      for (;;) {
        const { status, text } = await this.#once(`/v3/auth/${path}`, question);
        if (status === 200 || /already/.test(text)) return;
        if (status !== 503 || performance.now() > deadlineMs) throw new Error(`${path}: ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    };
    const key = Buffer.from(prefix).toString('base64');
    // The first key that does not begin with it.
    const end = Buffer.from(prefix);
    end[end.length - 1] = (end.at(-1) ?? 0) + 1;
    const perm = { permType: 'READWRITE', key, range_end: end.toString('base64') };
    for (const [name, word] of [
      ['root', 'of the root'],
      [user, password],
    ] as const) {
      await ask('user/add', { name, password: word });
      await ask('role/add', { name });
      await ask('user/grant', { user: name, role: name });
    }
    await ask('role/grant', { name: user, perm });
    await ask('enable', {});
  }

  /** Asked of one member, and once: not everything may be done twice without harm. */
  #once(path: string, question: object): Promise<{ status: number; text: string }> {
    const { ca, cert, key } = this.#o.tls ?? {};
    const pem = Object.entries({ ca, cert, key }).map(([name, file]) => [
      name,
      file === undefined ? undefined : readFileSync(file),
    ]);
    const url = new URL(path, this.#at(0).client);
    const { request } = url.protocol === 'https:' ? https : http;
    return new Promise((resolve, reject) => {
      const asking = request(url, { method: 'POST', agent: false, ...Object.fromEntries(pem) });
      asking.on('error', reject);
      asking.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      asking.end(JSON.stringify(question));
    });
  }

  #at(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`no member ${index}`);
    return member;
  }
}

/** As far as its threads can be seen: one that is gone meanwhile stands. */
function stands(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
    } catch {
      return true;
    }
  });
}

async function ended(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await end;
}

const addressOf = (index: number): string => `10.78.0.${11 + index}`;

/** Where members with a host of their own are reached. */
export const HOST_ADDRESSES: readonly string[] = Array.from({ length: MEMBERS }, (_, index) =>
  addressOf(index),
);

/** A named network namespace gets a port of the members' switch. */
export function plugIn(namespace: string): void {
  ip('link', 'add', 'client', 'type', 'veth', 'peer', 'name', 'etcd', 'netns', namespace);
  ip('link', 'set', 'client', 'master', 'br0', 'up');
  ip('-n', namespace, 'addr', 'add', '10.78.0.2/24', 'dev', 'etcd');
  ip('-n', namespace, 'link', 'set', 'etcd', 'up');
}

function makeSwitch(): void {
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
  ip('addr', 'add', '10.78.0.1/24', 'dev', 'br0');
  ip('link', 'set', 'br0', 'up');
}

/** A process that does nothing but hold a network namespace, with a port of the switch. */
function makeHost(port: string, index: number): ChildProcess {
  const words = ['--pdeathsig', 'KILL', 'unshare', '--net', 'cat'];
  const host = spawn('setpriv', words, { stdio: ['pipe', 'ignore', 'ignore'] });
  const pid = String(host.pid);
  const deadlineMs = performance.now() + WELL_MS_MAX;
  while (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) {
    if (performance.now() > deadlineMs) throw new Error('no network namespace could be made');
  }
  ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid);
  ip('link', 'set', port, 'master', 'br0', 'up');
  const inside = (...more: string[]) => execFileSync('nsenter', ['-t', pid, '-n', 'ip', ...more]);
  inside('link', 'set', 'lo', 'up');
  inside('addr', 'add', `${addressOf(index)}/24`, 'dev', 'eth0');
  inside('link', 'set', 'eth0', 'up');
  return host;
}

function ip(...words: string[]): void {
  execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'inherit'] });
}
