// SPDX-License-Identifier: Apache-2.0
/** A pair of daemons with test/lib/fake-vm.c in QEMU's place, and peers that misbehave. */
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { buildFakeVm, type Running, runJson, scratch, start } from './command.ts';
import { freePort } from './free-port.ts';

export interface Status {
  readonly name: string;
  readonly role: string;
  readonly pid: number;
  readonly qemu_pid: number | null;
  readonly state: string;
  readonly reason: string;
  readonly term: number;
  readonly vm_id: string;
  readonly segment_error: string | null;
  readonly outputs_stopped: string | null;
  readonly last_refused: string | null;
  readonly arbiter_problem: string | null;
  readonly arbiter_answer_ms: number | null;
  readonly failover: Record<string, number> | null;
}

export const dir = scratch('pair');
export const env: Record<string, string> = {
  UNDERSTUDY_QEMU: buildFakeVm(dir),
  UNDERSTUDY_FIRMWARE_DIR: dir,
  UNDERSTUDY_HANG_TIMEOUT_MS: '1500',
  FAKE_VM_LINES: '0',
};

let count = 0;

/** A VM of its own: two folders with a VM.toml each, an arbiter, a state folder. */
export class FakeVmPair {
  readonly name: string;
  readonly dir: string;
  readonly port: number;
  readonly env: Record<string, string>;
  readonly running: Running[] = [];
  readonly #arbiter: string;

  private constructor(port: number, arbiter?: string) {
    this.name = `vm${++count}`;
    this.dir = join(dir, this.name);
    this.port = port;
    this.#arbiter = arbiter ?? `dir:${join(this.dir, 'arbiter')}`;
    this.env = { ...env, UNDERSTUDY_STATE_DIR: join(this.dir, 'state') };
  }

  /** @param arbiter default: a folder of the pair's own */
  static async make(replication = '', arbiter?: string): Promise<FakeVmPair> {
    const pair = new FakeVmPair(await freePort(), arbiter);
    mkdirSync(join(pair.dir, 'arbiter'), { recursive: true });
    for (const side of ['primary', 'backup']) pair.configure(side, replication);
    return pair;
  }

  configure(side: string, replication = '', vm = ''): void {
    const folder = join(this.dir, side);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'kernel'), 'a kernel');
    writeFileSync(join(folder, 'disk.raw'), '');
    truncateSync(join(folder, 'disk.raw'), 1 << 20);
    writeFileSync(
      this.toml(side),
      `name = "${this.name}"\nkernel = "kernel"\n${vm}\n[[disk]]\nimage = "disk.raw"\n` +
        `[replication]\nprimary = "127.0.0.1:${this.port}"\n` +
        `arbiter = "${this.#arbiter}"\n${replication}\n`,
    );
  }

  toml(side: string): string {
    return join(this.dir, side, 'VM.toml');
  }

  stateDir(side: string): string {
    return join(this.dir, 'state', `${this.name}-${side}`);
  }

  start(side: 'primary' | 'backup', more: Record<string, string> = {}, ...args: string[]): Running {
    const running = start([side, this.toml(side), ...args], { env: { ...this.env, ...more } });
    this.running.push(running);
    return running;
  }

  async startBoth(): Promise<{ primary: Running; backup: Running }> {
    const primary = this.start('primary');
    const backup = this.start('backup');
    await this.until('primary', (status) => status.state === 'protected');
    await this.until('backup', (status) => status.state === 'standby');
    return { primary, backup };
  }

  async status(side: string): Promise<Status | null> {
    const { json } = await runJson(['status', this.name], { env: this.env });
    const daemons = json.daemons as Status[];
    return daemons.find((daemon) => daemon.role === side) ?? null;
  }

  /** Waits for a status that satisfies; throws with the last one seen. */
  async until(
    side: 'primary' | 'backup',
    test: (status: Status) => boolean,
    timeoutMs = 15_000,
  ): Promise<Status> {
    const deadline = Date.now() + timeoutMs;
    let last: Status | null = null;
    while (Date.now() < deadline) {
      last = await askStatus(join(this.stateDir(side), 'status.sock'));
      if (last !== null && test(last)) return last;
      await sleep(25);
    }
    throw new Error(`${side} of ${this.name} did not get there: ${JSON.stringify(last)}`);
  }

  /** Kills whatever is left. */
  async end(): Promise<void> {
    for (const running of this.running) running.child.kill('SIGKILL');
    await Promise.all(this.running.map((running) => running.done));
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One question to a status socket, without the cost of a process. */
export function ask(path: string, request: object): Promise<Record<string, unknown> | null> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    let text = '';
    socket.on('error', () => resolve(null));
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (!text.includes('\n')) return;
      socket.destroy();
      resolve(JSON.parse(text.slice(0, text.indexOf('\n'))) as Record<string, unknown>);
    });
  });
}

async function askStatus(path: string): Promise<Status | null> {
  const answer = await ask(path, { cmd: 'status' });
  return (answer?.status as Status | undefined) ?? null;
}

/** Whether a process runs; one that ended and was not waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}
