// SPDX-License-Identifier: Apache-2.0
/** The demo's protected VM: a work folder, two disks, and the two real daemons. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestPaths } from '#scripts/paths.mjs';
import { UnderstudyError } from '../base/errors.ts';
import { projectRoot } from '../base/paths.ts';
import { ask, command } from '../daemon/client.ts';
import type { DaemonStatus } from '../daemon/facts.ts';
import type { ProtocolName } from '../epochs/registry.ts';
import { Authority, tlsLines } from '../keys/authority.ts';
import { DemoChild } from '../lab/child.ts';
import type { DemoNetwork } from '../lab/netns.ts';
import type { AccelName } from '../vm/accel/registry.ts';
import { copySparse } from '../vm/disk.ts';

export type Side = 'primary' | 'backup';
/** A host is two processes. */
export type Part = 'daemon' | 'qemu';

export const VM_NAME = 'demo';

/** What us-server prints once it can be connected to. */
const SERVING = 'us-server: listening';
const LAG_MS_MAX = 100;
const POLL_MS = 50;
const PROTECTED_TIMEOUT_MS = 120_000;

/** Status as it is after JSON: numbers where the daemon has bigints. */
export type SideStatus = DaemonStatus;

export interface DemoGuest {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

/** As VM.toml has it. */
export interface DemoArbiter {
  readonly url: string;
  /** Tables, with what it is reached by. */
  readonly tables: readonly string[];
}

export interface PairOptions {
  readonly network: DemoNetwork;
  readonly dir: string;
  /** replication.protocol */
  readonly protocol: ProtocolName;
  /** How the VM is executed, on how many vCPUs; default: VM.toml's. */
  readonly accel?: AccelName;
  readonly vcpus?: number;
  /** Instead of the reference guest; its init serves the same. */
  readonly guest?: DemoGuest;
  /** Instead of a folder beside the two: another arbiter, made reachable from this network. */
  readonly arbiter?: (network: DemoNetwork) => DemoArbiter;
  /** Further variables of a side's environment. */
  readonly env?: Readonly<Partial<Record<Side, Readonly<Record<string, string>>>>>;
  /** Lines that the daemons say, as they say them. */
  readonly onLine: (side: Side, line: string) => void;
}

/** A side's remark ("backup demo: primary-lost: …") as its event and the rest. */
export function parseRemark(line: string): { event: string; rest: string } | null {
  const match = /^(?:primary|backup) \S+: ([a-z-]+)(?:: (.*))?$/.exec(line);
  return match === null ? null : { event: match[1] ?? '', rest: match[2] ?? '' };
}

export class DemoPair {
  readonly #o: PairOptions;
  readonly #stateRoot: string;
  readonly #children = new Map<Side, DemoChild>();
  readonly #qemuPids = new Map<Side, number>();

  private constructor(options: PairOptions) {
    this.#o = options;
    this.#stateRoot = join(options.dir, 'state');
  }

  /** Writes the work folder and starts both daemons. */
  static async start(options: PairOptions): Promise<DemoPair> {
    const pair = new DemoPair(options);
    // daemon/client.ts looks there, too.
    process.env.UNDERSTUDY_STATE_DIR = pair.#stateRoot;
    const arbiter = options.arbiter?.(options.network) ?? folderIn(options.dir);
    const authority = Authority.init(join(options.dir, 'keys'));
    for (const side of ['primary', 'backup'] as const) {
      await pair.#writeVm(side, authority.issue(VM_NAME, side), arbiter);
    }
    for (const side of ['primary', 'backup'] as const) pair.#startDaemon(side);
    return pair;
  }

  async #writeVm(side: Side, keys: string, arbiter: DemoArbiter): Promise<void> {
    const { dir, network, protocol, accel, vcpus } = this.#o;
    const reference = guestPaths();
    if (reference === undefined) {
      throw new UnderstudyError(
        'host-unsupported',
        'the reference guest is not built on this host: run `npm run bootstrap`',
      );
    }
    const guest = this.#o.guest ?? reference;
    const folder = join(dir, side);
    mkdirSync(folder, { recursive: true });
    await copySparse(reference.diskTemplate, this.diskOf(side));
    const text = (value: string): string => JSON.stringify(value);
    const append = `${guest.append} us.run=server us.ip=${network.guestAddress}/24 us.disk=1`;
    const lines = [
      `name = ${text(VM_NAME)}`,
      'memory = "128M"',
      ...(accel === undefined ? [] : [`accel = ${text(accel)}`]),
      ...(vcpus === undefined ? [] : [`vcpus = ${vcpus}`]),
      `kernel = ${text(guest.kernel)}`,
      `initrd = ${text(guest.initrd)}`,
      `append = ${text(append)}`,
      '[[disk]]',
      'image = "disk.raw"',
      '[[nic]]',
      'mac = "52:54:00:12:34:56"',
      `tap = ${text(network.tap[side])}`,
      '[replication]',
      `primary = ${text(network.replication)}`,
      `arbiter = ${text(arbiter.url)}`,
      `protocol = ${text(protocol)}`,
      // The lag has to be replayed before going live: it bounds the client's stall.
      `lag_ms_max = ${LAG_MS_MAX}`,
      ...tlsLines(keys),
      ...arbiter.tables,
    ];
    writeFileSync(join(folder, 'VM.toml'), `${lines.join('\n')}\n`);
  }

  #startDaemon(side: Side): void {
    const { dir, network, onLine } = this.#o;
    const program = join(projectRoot(), 'bin', 'understudy');
    const child = new DemoChild(network.prefix, {
      words: [process.execPath, program, side, join(dir, side, 'VM.toml')],
      env: { UNDERSTUDY_STATE_DIR: this.#stateRoot, NO_COLOR: '1', ...this.#o.env?.[side] },
      onStderr: (line) => onLine(side, line),
    });
    this.#children.set(side, child);
  }

  diskOf(side: Side): string {
    return join(this.#o.dir, side, 'disk.raw');
  }

  child(side: Side): DemoChild {
    const child = this.#children.get(side);
    if (child === undefined) throw new Error(`the ${side} was started`);
    return child;
  }

  /** Null when that daemon does not answer (yet, or any more). */
  async status(side: Side): Promise<SideStatus | null> {
    try {
      const answer = await ask({ name: VM_NAME, role: side }, { cmd: 'status' }, 2000);
      const status = answer.status as SideStatus;
      if (status.qemu_pid !== null) this.#qemuPids.set(side, status.qemu_pid);
      return status;
    } catch {
      return null;
    }
  }

  /** Until the VM is protected and its service listens. */
  async ready(): Promise<void> {
    const untilMs = Date.now() + PROTECTED_TIMEOUT_MS;
    for (;;) {
      for (const side of ['primary', 'backup'] as const) {
        const { end, lastWords } = this.child(side);
        if (end !== null) throw new UnderstudyError('failure', `the ${side} ended: ${lastWords}`);
      }
      const [primary, backup] = await Promise.all([this.status('primary'), this.status('backup')]);
      const isUp = primary?.state === 'protected' && backup?.state === 'standby';
      if (isUp && this.consoleOf('primary').includes(SERVING)) return;
      if (Date.now() > untilMs) {
        throw new UnderstudyError(
          'failure',
          `the VM was not protected and ready in ${PROTECTED_TIMEOUT_MS / 1000} s: the primary ` +
            `is ${primary?.state ?? 'silent'} (${primary?.reason ?? '-'}), the backup ` +
            `${backup?.state ?? 'silent'} (${backup?.reason ?? '-'})`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  /** What has left the guest's console, on that side. */
  consoleOf(side: Side): string {
    try {
      const path = join(this.#stateRoot, `${VM_NAME}-${side}`, 'console.log');
      return readFileSync(path, 'latin1');
    } catch {
      return '';
    }
  }

  /** A signal to those processes, by pid, at one moment. */
  signal(side: Side, parts: readonly Part[], signal: NodeJS.Signals): void {
    for (const part of parts) {
      const pid = this.#pidOf(side, part);
      if (pid === null) continue;
      try {
        process.kill(pid, signal);
      } catch {
        // gone already: QEMU follows its daemon
      }
    }
  }

  /** Null when it has ended: its number may be somebody else's by now. */
  #pidOf(side: Side, part: Part): number | null {
    const daemon = this.child(side);
    if (part === 'daemon') return daemon.end === null ? daemon.pid : null;
    const pid = this.#qemuPids.get(side);
    return pid !== undefined && isQemu(pid, this.#o.dir) ? pid : null;
  }

  /** Presses the power button and waits for the daemon's end. */
  async powerDown(side: Side, timeoutMs: number): Promise<boolean> {
    await command({ name: VM_NAME, role: side }, { cmd: 'stop', powerdown: true });
    return await this.endOf(side, timeoutMs);
  }

  /** Whether it ended within that time. */
  async endOf(side: Side, timeoutMs: number): Promise<boolean> {
    const timeout = new AbortController();
    const late = sleep(timeoutMs, false, { signal: timeout.signal }).catch(() => false);
    const ended = await Promise.race([this.child(side).ended.then(() => true), late]);
    timeout.abort();
    return ended;
  }

  /** Ends whatever still runs, the hard way, and waits for it. Idempotent. */
  async destroy(): Promise<void> {
    for (const child of this.#children.values()) child.kill();
    await Promise.all([...this.#children.values()].map(({ ended }) => ended));
    // QEMU dies with its daemon; its pid is ours to look at until then.
    const untilMs = Date.now() + 5000;
    for (const pid of this.#qemuPids.values()) {
      while (isQemu(pid, this.#o.dir) && Date.now() < untilMs) await sleep(5);
    }
  }
}

/** Storage that both sides see. */
function folderIn(dir: string): DemoArbiter {
  const folder = join(dir, 'arbiter');
  mkdirSync(folder, { recursive: true });
  return { url: `dir:${folder}`, tables: [] };
}

/** Whether that process still is a QEMU of this work folder, and not a later one. */
function isQemu(pid: number, dir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dir);
  } catch {
    return false;
  }
}
