// SPDX-License-Identifier: Apache-2.0
/**
 * A recording with checkpoints of a VM of 256 MiB that is given mixed work at random, one
 * piece after another: network, disk, computing, someone at the console.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mixedSetup, mixedStep } from '../../bench/mixed-load.ts';
import type { Guest as BenchGuest } from '../../bench/systems/system.ts';
import { Random } from '../../src/lab/random.ts';
import { type Running, start } from './command.ts';
import { makeNetns, type Netns } from './netns.ts';
import { writeVm } from './workload-vm.ts';
import { type Guest, PLAIN } from './workloads.ts';

export interface MixedOptions {
  /** An empty folder, or none: for the VM's files and `recording`. */
  readonly dir: string;
  readonly guest: Guest;
  readonly seed: number;
  readonly vcpus: number;
  /** For `record --checkpoint-every`. */
  readonly checkpointEvery: string;
  /** Asked after each piece of work, with the recording's folder. */
  readonly enough: (recording: string) => boolean;
  readonly timeoutMs: number;
  /** Also stretches of so many seconds in which it computes and writes to memory. */
  readonly stretchS?: number;
}

type Type = (text: string) => Promise<void>;

/** @returns the recording's folder */
export async function recordMixed(options: MixedOptions): Promise<string> {
  const { dir, seed, vcpus, guest } = options;
  const netns = makeNetns(`m${seed % 10_000}`);
  if (netns === null) throw new Error('network namespaces need root');
  try {
    mkdirSync(dir, { recursive: true });
    const workload = {
      name: 'mixed',
      us: () => `us.run=shell us.disk=1 us.ip=${netns.guestIp}/24`,
      disk: true,
      memory: '256M',
    } as const;
    await writeVm(workload, { ...PLAIN, vcpus }, dir, guest, netns);
    const out = join(dir, 'recording');
    const words = ['record', join(dir, 'VM.toml'), '--out', out];
    words.push('--checkpoint-every', options.checkpointEvery);
    const record = start(words, { timeoutMs: options.timeoutMs, prefix: netns.prefix });
    try {
      await work(record, netns, options, out);
    } catch (error) {
      record.child.kill('SIGKILL');
      const { stderr } = await record.done;
      throw new Error(`record: ${String(error)} ${stderr}`);
    }
    const { code, stderr } = await record.done;
    if (code !== 0) throw new Error(`record (exit ${code}): ${stderr}`);
    return out;
  } finally {
    netns.remove();
  }
}

async function work(
  record: Running,
  netns: Netns,
  { seed, enough, stretchS = 0 }: MixedOptions,
  out: string,
): Promise<void> {
  const vm = besideGuest(record, netns);
  const type: Type = async (text) => {
    record.child.stdin?.write(text);
  };
  const random = new Random(seed);
  await vm.said('guest# ');
  await mixedSetup(vm, type);
  for (let n = 1; !enough(out); n += 1) {
    await mixedStep(vm, type, random);
    if (stretchS > 0 && n % 3 === 0) await stretch(vm, type, n, stretchS);
  }
  await type('exit\n');
}

/** What a checkpoint's chain is longest for: many instructions, many pages written. */
async function stretch(vm: BenchGuest, type: Type, n: number, seconds: number): Promise<void> {
  // The root is in memory.
  await type(
    'md5sum /dev/zero & sum=$!\n' +
      'while :; do head -c 30000000 /dev/urandom >/noise; done & noise=$!\n',
  );
  await sleep(seconds * 1000);
  await type(`kill $sum $noise; wait $sum $noise; echo stretch-$((${n}))-end\n`);
  await vm.said(`stretch-${n}-end`);
}

function besideGuest(record: Running, netns: Netns): BenchGuest {
  return {
    prefix: netns.prefix,
    guestAddress: netns.guestIp,
    async said(text) {
      await record.printed(text);
      return performance.now();
    },
    ended: record.done.then(() => {}),
  };
}
