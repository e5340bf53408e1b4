// SPDX-License-Identifier: Apache-2.0
/**
 * The systems that are compared, each running the same VM: plain TCG (the
 * unpatched build of the same source), ours recording, ours protected.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestPaths } from '#scripts/paths.mjs';
import { projectRoot } from '../src/base/paths.ts';
import { ask } from '../src/daemon/client.ts';
import type { DaemonStatus } from '../src/daemon/status.ts';
import { DemoChild } from '../src/demo/child.ts';
import { type DemoNetwork, makeNetwork } from '../src/demo/netns.ts';
import { loadConfig } from '../src/vm/config.ts';
import { qemuArgs, rtcBaseNow } from '../src/vm/qemu-args.ts';
import { findQemu } from '../src/vm/qemu-binary.ts';

/** What the guest does: words for its init (guest/init). */
export interface VmSpec {
  readonly words: string;
  readonly memory?: string;
}

/** One VM, from its start until it has powered off. */
export interface RunningVm {
  /** Words that run a command beside the guest. */
  readonly prefix: readonly string[];
  readonly guestAddress: string;
  /** Everything on the guest's console so far. */
  console(): string;
  /** Until the console has said this; host ms of it, on `performance.now()`'s scale. */
  said(text: string): Promise<number>;
  /** How far a protected VM's backup is behind now, in ms; null before it is there. */
  lagMs?(): Promise<number | null>;
  /** What a recorder is given to type, and told to stop. */
  type?(text: string): Promise<void>;
  stop?(): void;
  /** Until the VM has ended by itself. */
  readonly ended: Promise<void>;
  /** Ends it and takes its network away; idempotent. `dir` stays. */
  close(): Promise<void>;
}

export interface System {
  readonly name: string;
  /** @param dir an empty folder for images, logs and recordings */
  start(dir: string, spec: VmSpec): Promise<RunningVm>;
}

const NAME = 'bench';
/** The template's file system has 64 MiB: room for what takes long enough to measure. */
const DISK_BYTES = 512 * 2 ** 20;
const POLL_MS = 10;
const SAID_TIMEOUT_MS = 180_000;

function understudy(...words: string[]): string[] {
  return [process.execPath, join(projectRoot(), 'bin', 'understudy'), ...words];
}

function writeVm(dir: string, spec: VmSpec, network: DemoNetwork, side: 'primary' | 'backup') {
  const guest = guestPaths();
  if (guest === undefined) throw new Error('the reference guest is not built: npm run bootstrap');
  mkdirSync(dir, { recursive: true });
  const disk = join(dir, 'disk.raw');
  execFileSync('cp', ['--sparse=always', guest.diskTemplate, disk]);
  truncateSync(disk, DISK_BYTES);
  // Both sides' images must be the same bytes: no time of day in them.
  const env = { ...process.env, E2FSPROGS_FAKE_TIME: '1700000000' };
  execFileSync('resize2fs', ['-f', disk], { stdio: 'ignore', env });
  const append = `${guest.append} us.ip=${network.guestAddress}/24 us.disk=1 ${spec.words}`;
  const lines = [
    `name = "${NAME}"`,
    `memory = "${spec.memory ?? '256M'}"`,
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(append)}`,
    '[[disk]]',
    'image = "disk.raw"',
    '[[nic]]',
    'mac = "52:54:00:12:34:56"',
    `tap = "${network.tap[side]}"`,
    '[replication]',
    `primary = "${network.replication}"`,
    `arbiter = ${JSON.stringify(`dir:${join(dir, '..', 'arbiter')}`)}`,
  ];
  const file = join(dir, 'VM.toml');
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

/** The console grows in a file or from lines; either way `read` says all of it. */
function running(
  network: DemoNetwork,
  children: readonly DemoChild[],
  read: () => string,
  ended: Promise<void>,
): RunningVm {
  return {
    prefix: network.prefix,
    guestAddress: network.guestAddress,
    console: read,
    async said(text) {
      const untilMs = performance.now() + SAID_TIMEOUT_MS;
      while (!read().includes(text)) {
        const dead = children.find(({ end }) => end !== null);
        if (dead !== undefined && !read().includes(text)) {
          throw new Error(`ended before "${text}": ${dead.lastWords}\n${read().slice(-500)}`);
        }
        if (performance.now() > untilMs) throw new Error(`no "${text}" on the console`);
        await sleep(POLL_MS);
      }
      return performance.now();
    },
    ended,
    async close() {
      for (const child of children) child.kill();
      await Promise.all(children.map((child) => child.ended));
      network.remove();
    },
  };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

async function succeeded(child: DemoChild): Promise<void> {
  const { code } = await child.ended;
  if (code !== 0) throw new Error(`ended with ${code}: ${child.lastWords}`);
}

/** @param binary an unpatched qemu-system-x86_64 */
export function plain(binary: string): System {
  return {
    name: 'plain',
    async start(dir, spec) {
      const network = makeNetwork();
      const config = loadConfig(writeVm(join(dir, 'vm'), spec, network, 'primary'));
      const { firmwareDir } = await findQemu();
      const args = unpatched(
        qemuArgs(config, {
          mode: 'record',
          rtcBase: rtcBaseNow(),
          firmwareDir,
          net: 'configured',
        }),
        network.tap.primary,
      );
      let text = '';
      const child = new DemoChild(network.prefix, {
        words: [binary, ...args],
        onStdout: (line) => {
          text += `${line}\n`;
        },
      });
      return running(network, [child], () => text, succeeded(child));
    },
  };
}

/** The same machine without what only the patched build knows. */
function unpatched(args: readonly string[], tap: string): string[] {
  const result: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '-icount' || word === '-exitlog') at += 1;
    else result.push(word === 'tcg,thread=single' ? 'tcg' : word.replace(',clock=vm', ''));
  }
  return [
    ...['-chardev', 'stdio,id=console0,signal=off'],
    ...['-netdev', `tap,id=net0,ifname=${tap},script=no,downscript=no,vhost=off`],
    ...result,
  ];
}

/** @param options of `record`, besides */
export function recording(...options: readonly string[]): System {
  return {
    name: 'record',
    async start(dir, spec) {
      const network = makeNetwork();
      const file = writeVm(join(dir, 'vm'), spec, network, 'primary');
      const out = join(dir, 'recording');
      const child = new DemoChild(network.prefix, {
        words: understudy('record', file, '--out', out, '--json', ...options),
        env: { UNDERSTUDY_CATALOG_DIR: 'off' },
      });
      const read = (): string => readOr(join(out, 'console.log'));
      return {
        ...running(network, [child], read, succeeded(child)),
        type: async (text) => child.write(text),
        stop: () => child.interrupt(),
      };
    },
  };
}

/** Both sides on this host, over the loopback device. */
export function pair(): System {
  return {
    name: 'protected',
    async start(dir, spec) {
      const network = makeNetwork();
      const state = join(dir, 'state');
      mkdirSync(join(dir, 'arbiter'), { recursive: true });
      const children = (['primary', 'backup'] as const).map((side) => {
        const file = writeVm(join(dir, side), spec, network, side);
        return new DemoChild(network.prefix, {
          words: understudy(side, file),
          env: { UNDERSTUDY_STATE_DIR: state, NO_COLOR: '1' },
        });
      });
      const read = (): string => readOr(join(state, `${NAME}-primary`, 'console.log'));
      const [primary] = children as [DemoChild, DemoChild];
      process.env.UNDERSTUDY_STATE_DIR = state; // where ask() looks
      return {
        ...running(network, children, read, succeeded(primary)),
        async lagMs() {
          const { status } = await ask({ name: NAME, role: 'primary' }, { cmd: 'status' });
          return (status as DaemonStatus).lag_ms;
        },
      };
    },
  };
}

/** Replays what `recording()` left in `dir`. @returns seconds of wall-clock */
export async function replay(dir: string): Promise<number> {
  const startedMs = performance.now();
  const child = new DemoChild([], {
    words: understudy('replay', join(dir, 'recording'), '--verify', '--json'),
  });
  await succeeded(child);
  return (performance.now() - startedMs) / 1000;
}

/** What `record` wrote about the run in `dir`. */
export function recordingFacts(dir: string): { icount: number; log_bytes: number; wall_s: number } {
  return JSON.parse(readFileSync(join(dir, 'recording', 'end.json'), 'utf8'));
}

export function discard(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
