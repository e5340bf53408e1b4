// SPDX-License-Identifier: Apache-2.0
/**
 * The same machine on a QEMU without our patches: the same source, the same options,
 * less what only the patched build knows. `plain` is what everything is compared with.
 */
import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.ts';
import { DemoChild } from '../../src/lab/child.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { qemuArgs, rtcBaseNow } from '../../src/vm/qemu-args.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { plainQemu } from '../peer-qemu.ts';
import { NOTHING, type RunningVm, type System, type VmSpec } from './system.ts';
import { collector, running, writeVm } from './vm.ts';

interface Unpatched {
  readonly binary: string;
  /** Value of `-icount`; null: it does not count. */
  readonly icount: string | null;
  /** Turns the drive into what the guest's disk is on, and the like. */
  readonly adapt?: (args: readonly string[]) => string[];
  readonly extra?: readonly string[];
}

/** @param binary an unpatched qemu-system-x86_64; default: built on first use, cached */
export function plain(binary?: string): System {
  return {
    name: 'plain',
    title: 'plain TCG',
    baseline: null,
    verified: false,
    replays: null,
    absent: () => unbuilt(binary),
    start: async (dir, spec) =>
      startUnpatched(dir, spec, { binary: binary ?? (await plainQemu()), icount: null }),
    harvest: async () => NOTHING,
  };
}

export function icount(binary?: string): System {
  return {
    name: 'icount',
    title: 'stock -icount',
    baseline: 'plain',
    verified: false,
    replays: null,
    absent: () => unbuilt(binary),
    start: async (dir, spec) =>
      startUnpatched(dir, spec, {
        binary: binary ?? (await plainQemu()),
        icount: 'shift=1,sleep=on',
      }),
    harvest: async () => NOTHING,
  };
}

/** Why there is no unpatched QEMU; null: there is one. */
export function unbuilt(binary?: string): Promise<string | null> {
  return whyNotBuilt('the unpatched QEMU', binary === undefined ? plainQemu : null);
}

/** @param build null: there is nothing to build */
export async function whyNotBuilt(
  what: string,
  build: (() => Promise<string>) | null,
): Promise<string | null> {
  try {
    await build?.();
    return null;
  } catch (error) {
    return `${what} cannot be built here: ${messageOf(error)}`;
  }
}

export async function startUnpatched(
  dir: string,
  spec: VmSpec,
  options: Unpatched,
): Promise<RunningVm> {
  const network = makeNetwork();
  try {
    const file = await writeVm(spec, { dir: join(dir, 'vm'), network, side: 'primary' });
    const console = collector();
    const child = new DemoChild(network.prefix, {
      words: await unpatchedWords(file, network.tap.primary, options),
      onStdout: console.onStdout,
    });
    return running({ network, children: [child], read: console.read });
  } catch (error) {
    network.remove();
    throw error;
  }
}

/** The command line of the VM in a VM.toml; its console is stdio. */
export async function unpatchedWords(
  file: string,
  tap: string,
  { binary, icount: counting, adapt, extra = [] }: Unpatched,
): Promise<string[]> {
  const { firmwareDir } = await findQemu();
  const ours = qemuArgs(loadConfig(file), {
    mode: 'record',
    rtcBase: rtcBaseNow(),
    firmwareDir,
    net: 'configured',
  });
  const args = strip(ours, counting);
  return [
    binary,
    ...['-chardev', 'stdio,id=console0,signal=off'],
    ...['-netdev', `tap,id=net0,ifname=${tap},script=no,downscript=no,vhost=off`],
    ...(adapt === undefined ? args : adapt(args)),
    ...extra,
  ];
}

/** Our words for QEMU without those that an unpatched one does not know, or would not have. */
function strip(args: readonly string[], counting: string | null): string[] {
  const result: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '-exitlog') at += 1;
    else if (word === '-icount') {
      at += 1;
      if (counting !== null) result.push(word, counting);
    } else result.push(word.replace('tcg,thread=single', 'tcg').replace(',clock=vm', ''));
  }
  return result;
}
