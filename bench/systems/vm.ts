// SPDX-License-Identifier: Apache-2.0
/** The parts that every system's VM is made of: its network, its VM.toml, its console. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestPaths } from '#scripts/paths.mjs';
import { UnderstudyError } from '../../src/base/errors.ts';
import { projectRoot } from '../../src/base/paths.ts';
import type { DemoChild } from '../../src/lab/child.ts';
import type { DemoNetwork } from '../../src/lab/netns.ts';
import { copySparse } from '../../src/vm/disk.ts';
import type { RunningVm, VmSpec } from './system.ts';

export const VM_NAME = 'bench';
const POLL_MS = 10;
const WORDS_KEPT = 400;

export function understudy(...words: string[]): string[] {
  return [process.execPath, join(projectRoot(), 'bin', 'understudy'), ...words];
}

/** @throws UnderstudyError host-unsupported */
export function referenceGuest() {
  const guest = guestPaths();
  if (guest !== undefined) return guest;
  throw new UnderstudyError(
    'host-unsupported',
    'the reference guest is not built on this host: run `npm run bootstrap`',
  );
}

export interface VmFiles {
  readonly dir: string;
  readonly network: DemoNetwork;
  readonly side: 'primary' | 'backup';
  /** Lines for [replication]; without any there is no such table. */
  readonly replication?: readonly string[];
}

/** Writes a VM's folder with its own copy of the disk. @returns its VM.toml */
export async function writeVm(spec: VmSpec, files: VmFiles): Promise<string> {
  const { dir, network, side, replication = [] } = files;
  const guest = referenceGuest();
  mkdirSync(dir, { recursive: true });
  await copySparse(spec.disk, join(dir, 'disk.raw'));
  const text = (value: string): string => JSON.stringify(value);
  const append = `${guest.append} us.ip=${network.guestAddress}/24 us.disk=1 ${spec.words}`;
  const lines = [
    `name = "${VM_NAME}"`,
    `memory = "${spec.memory ?? '256M'}"`,
    `vcpus = ${spec.vcpus ?? 1}`,
    ...(spec.accel === undefined ? [] : [`accel = "${spec.accel}"`]),
    `kernel = ${text(guest.kernel)}`,
    `initrd = ${text(spec.initrd)}`,
    `append = ${text(append)}`,
    '[[disk]]',
    'image = "disk.raw"',
    '[[nic]]',
    'mac = "52:54:00:12:34:56"',
    `tap = "${network.tap[side]}"`,
    ...(replication.length === 0 ? [] : ['[replication]', ...replication]),
  ];
  const file = join(dir, 'VM.toml');
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

export interface RunningParts {
  readonly network: DemoNetwork;
  readonly children: readonly DemoChild[];
  /** The console so far, from a file or from lines. */
  readonly read: () => string;
}

/** A VM of which the processes were just started. */
export function running({ network, children, read }: RunningParts): RunningVm {
  const startedMs = performance.now();
  let closed = false;
  const ended = Promise.all(children.map(succeeded)).then(() => {});
  ended.catch(() => {}); // who waits for it is told; a killed VM ends with a signal
  return {
    prefix: network.prefix,
    guestAddress: network.guestAddress,
    startedMs,
    console: read,
    async said(text) {
      for (;;) {
        if (read().includes(text)) return performance.now();
        const dead = children.find(({ end }) => end !== null);
        if (dead !== undefined) {
          await dead.ended; // its last lines are read
          if (read().includes(text)) return performance.now();
          throw new Error(`it ended before "${text}": ${lastOf(dead, read)}`);
        }
        if (closed) throw new Error(`it was ended before "${text}"`);
        await sleep(POLL_MS);
      }
    },
    pids: () => children.map(({ pid }) => pid),
    ended,
    async close() {
      closed = true;
      for (const child of children) child.kill();
      await Promise.all(children.map((child) => child.ended));
      network.remove();
    },
  };
}

function lastOf(child: DemoChild, read: () => string): string {
  return (child.lastWords || read()).slice(-WORDS_KEPT).trim() || 'it said nothing';
}

/** @throws Error with the child's last words */
async function succeeded(child: DemoChild): Promise<void> {
  const { code, signal } = await child.ended;
  if (code === 0) return;
  throw new Error(`ended with ${code ?? signal}: ${child.lastWords.slice(-WORDS_KEPT).trim()}`);
}

export function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Lines of a child's stdout, as the text so far. */
export function collector(): { readonly onStdout: (line: string) => void; read(): string } {
  let text = '';
  return {
    onStdout: (line) => {
      text += `${line}\n`;
    },
    read: () => text,
  };
}
