// SPDX-License-Identifier: Apache-2.0
/** VMs that run a boot sector of test/guest/, alone or as a pair without a network. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Running, type RunOptions, root, runJson, start } from './command.ts';
import { ask, type Status, sleep } from './fake-vm-pair.ts';
import { freePort } from './free-port.ts';
import { PATIENT } from './patience.ts';

const DISK_BYTES = 1 << 20;

/** What `understudy record --json` and `replay --json` end with. */
export interface End {
  readonly icount: number;
  readonly wall_s: number;
  readonly digest: string;
  readonly verified?: boolean;
}

/**
 * Assembles test/guest/NAME.S into `dir`, with a VM.toml for it.
 * @param symbols by which the source is told what to do
 * @param more further lines of VM.toml
 */
export function assembledVm(
  dir: string,
  name: string,
  symbols: Readonly<Record<string, number>> = {},
  more = '',
): string {
  mkdirSync(dir, { recursive: true });
  const [object, image] = [join(dir, 'boot.o'), join(dir, 'disk.raw')];
  const defined = Object.entries(symbols).flatMap(([key, value]) => [
    '--defsym',
    `${key}=${value}`,
  ]);
  const source = join(root, 'test/guest', `${name}.S`);
  execFileSync('as', ['--32', ...defined, '-o', object, source]);
  const flat = ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary'];
  execFileSync('ld', [...flat, '-o', image, object]);
  truncateSync(image, DISK_BYTES);
  const vm = join(dir, 'VM.toml');
  const head = `name = "sector"\nmemory = "32M"\nrng = false\n`;
  writeFileSync(vm, `${head}${more}[[disk]]\nimage = "disk.raw"\n`);
  return vm;
}

/** Records until the guest ends, or has printed `until` and has then been let run for `ms`. */
export async function recordSector(
  vm: string,
  out: string,
  options: RunOptions & { readonly until?: string; readonly ms?: number } = {},
): Promise<{ end: End; console: string; stopMs: number }> {
  const running = start(['record', vm, '--out', out], { timeoutMs: 40_000, ...options });
  let stopMs = 0;
  if (options.until !== undefined) {
    await running.printed(options.until);
    await sleep(options.ms ?? 0);
    const began = Date.now();
    running.child.kill('SIGINT');
    await running.done;
    stopMs = Date.now() - began;
  }
  const { code, stdout, stderr } = await running.done;
  if (code !== 0) throw new Error(`record ended with ${code}: ${stdout}\n${stderr}`);
  const end = JSON.parse(readFileSync(join(out, 'end.json'), 'utf8')) as End;
  return { end, console: stdout, stopMs };
}

export async function replaySector(out: string, options: RunOptions = {}): Promise<End> {
  const { code, json, stderr } = await runJson(['replay', out, '--verify'], options);
  if (code !== 0) throw new Error(`replay ended with ${code}: ${JSON.stringify(json)}\n${stderr}`);
  return json as unknown as End;
}

type Side = 'primary' | 'backup';

/** A protected boot sector: two daemons on loopback. */
export class SectorPair {
  readonly #dir: string;
  readonly #daemons: Running[] = [];

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async start(
    dir: string,
    name: string,
    symbols: Readonly<Record<string, number>> = {},
  ): Promise<SectorPair> {
    const pair = new SectorPair(dir);
    const port = await freePort();
    mkdirSync(join(dir, 'arbiter'), { recursive: true });
    const more =
      `[replication]\nprimary = "127.0.0.1:${port}"\n` +
      `arbiter = ${JSON.stringify(`dir:${join(dir, 'arbiter')}`)}\n${PATIENT}\n`;
    for (const side of ['primary', 'backup'] as const) {
      assembledVm(join(dir, side), name, symbols, more);
      pair.launch(side);
    }
    return pair;
  }

  get env(): Record<string, string> {
    return { UNDERSTUDY_STATE_DIR: join(this.#dir, 'state') };
  }

  /** Starts the daemon of that side's folder, also to take a dead one's place. */
  launch(side: Side, role: Side = side): Running {
    const toml = join(this.#dir, side, 'VM.toml');
    const daemon = start([role, toml], { env: this.env, timeoutMs: 60_000 });
    this.#daemons.push(daemon);
    return daemon;
  }

  daemon(index: number): Running {
    const daemon = this.#daemons[index];
    if (daemon === undefined) throw new Error(`no daemon ${index}`);
    return daemon;
  }

  async status(role: Side): Promise<Status | null> {
    const socket = join(this.#dir, 'state', `sector-${role}`, 'status.sock');
    return ((await ask(socket, { cmd: 'status' }))?.status as Status | undefined) ?? null;
  }

  /** Presses the VM's power button, at the daemon that has it. */
  async press(role: Side): Promise<void> {
    const socket = join(this.#dir, 'state', `sector-${role}`, 'status.sock');
    await ask(socket, { cmd: 'stop', powerdown: true });
  }

  console(role: Side): string {
    try {
      return readFileSync(join(this.#dir, 'state', `sector-${role}`, 'console.log'), 'latin1');
    } catch {
      return '';
    }
  }

  async until(what: string, holds: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!(await holds())) {
      if (Date.now() > deadline) {
        const [primary, backup] = [await this.status('primary'), await this.status('backup')];
        throw new Error(`${what}: not within ${ms} ms\n${JSON.stringify({ primary, backup })}`);
      }
      await sleep(50);
    }
  }

  untilState(role: Side, state: string): Promise<void> {
    return this.until(`${role} ${state}`, async () => (await this.status(role))?.state === state);
  }

  async end(): Promise<void> {
    for (const { child } of this.#daemons) child.kill('SIGKILL');
    await Promise.all(this.#daemons.map(({ done }) => done));
  }
}
