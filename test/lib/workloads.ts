// SPDX-License-Identifier: Apache-2.0
/**
 * Workloads × record and replay: what the guest runs, and who acts on it from
 * outside during it. Used by test/integration/ and test/campaign/.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { Random } from '../../src/lab/random.ts';
import { type Running, run, runJson, start } from './command.ts';
import { GRUB_GRAPHICAL, GRUB_TEXT } from './grub-disk.ts';
import { makeNetns, type Netns } from './netns.ts';
import { useVga } from './vga-console.ts';
import { everythingAtOnce, netperf, sees, sleepTwice, typeOnSerial } from './workload-drives.ts';
import { littleRoom, writeVm } from './workload-vm.ts';

export interface Guest {
  readonly kernel: string;
  readonly vmlinuz: string;
  readonly initrd: string;
  readonly append: string;
  readonly disk_template: string;
}

/** What the guest is made of. */
export interface Shape {
  readonly vcpus: number;
  readonly machine: 'pc' | 'q35';
  /** legacy: e1000 and IDE (pc) or AHCI (q35). scsi: virtio-net and virtio-scsi. */
  readonly devices: 'virtio' | 'legacy' | 'scsi';
}

export const PLAIN: Shape = { vcpus: 1, machine: 'pc', devices: 'virtio' };

export function shapeName({ vcpus, machine, devices }: Shape): string {
  return `${vcpus}-${machine}-${devices}`;
}

export interface Workload {
  readonly name: string;
  /** Words for the guest's init. */
  readonly us: (netns: Netns | null) => string;
  readonly disk?: true;
  /** The disk is what it boots from; there is no kernel. grub: text on the serial port. */
  readonly boots?: 'sector' | 'grub' | 'grub-graphical';
  /** A VGA card, and the kernel in the form that asks the BIOS for its screen. */
  readonly vga?: true;
  /** Instructions between digests; default: record's. */
  readonly digestEvery?: string;
  /** MiB of a second, empty disk. */
  readonly secondDisk?: number;
  /** MiB that the file system has on which the second disk is: the guest's writes fail. */
  readonly secondDiskRoom?: number;
  /** A kernel that looks for traces of the host (nosy.c), and no Linux. */
  readonly nosy?: 'multiboot' | 'pvh';
  /** Default: VM.toml's. */
  readonly memory?: string;
  /** It needs the test guest (test/guest/), whose init does it. */
  readonly inTestGuest?: true;
  /** It makes no sense with other devices. */
  readonly devices?: Shape['devices'];
  readonly network?: true;
  /** Acts on the running VM; without it the guest ends by itself. */
  readonly drive?: (running: Running, context: Context) => Promise<Record<string, unknown>>;
}

export interface Context {
  readonly dir: string;
  readonly guest: Guest;
  readonly random: Random;
  readonly netns: Netns | null;
  /** Seconds for each Netperf test. */
  readonly netperfS: number;
}

export interface Result {
  readonly workload: string;
  readonly shape: string;
  readonly seed: number;
  readonly ok: boolean;
  /** Set when this host cannot run the workload. */
  readonly skipped?: string;
  readonly failure?: string;
  readonly records?: number;
  readonly logBytes?: number;
  readonly icount?: number;
  readonly recordS?: number;
  readonly replayS?: number;
  readonly facts?: Record<string, unknown>;
}

export const WORKLOADS: readonly Workload[] = [
  { name: 'boot-poweroff', us: () => 'us.run=poweroff' },
  { name: 'serial', us: () => 'us.run=shell', drive: typeOnSerial },
  { name: 'suspend', us: () => 'us.run=shell us.disk=1', disk: true, drive: sleepTwice },
  { name: 'reboot-once', us: () => 'us.run=reboot-once us.disk=1', disk: true },
  { name: 'iozone-osync', us: () => 'us.run=iozone-osync us.disk=1 us.args=2m', disk: true },
  { name: 'iozone-fsync', us: () => 'us.run=iozone-fsync us.disk=1 us.args=8m', disk: true },
  {
    name: 'netperf',
    us: (netns) => `us.run=netserver us.ip=${netns?.guestIp}/24`,
    network: true,
    drive: netperf,
  },
  {
    name: 'mixed',
    us: (netns) => `us.run=shell us.disk=1 us.ip=${netns?.guestIp}/24`,
    disk: true,
    network: true,
    drive: everythingAtOnce,
  },
  { name: 'boot-from-disk', us: () => '', disk: true, boots: 'sector' },
  {
    name: 'grub',
    us: () => 'us.run=poweroff',
    disk: true,
    boots: 'grub',
    drive: (running) => sees(running, GRUB_TEXT),
  },
  {
    name: 'grub-vga',
    us: () => 'us.run=poweroff',
    disk: true,
    boots: 'grub-graphical',
    vga: true,
    drive: (running) => sees(running, GRUB_GRAPHICAL),
  },
  {
    name: 'vga',
    us: () => 'loglevel=7 us.run=shell',
    vga: true,
    digestEvery: '20M',
    devices: 'virtio',
    drive: useVga,
  },
  {
    name: 'cpu',
    us: () => 'us.test=cpu us.run=poweroff us.count=2',
    inTestGuest: true,
  },
  {
    name: 'swap',
    us: () => 'us.test=swap us.swap=b us.count=2 us.disk=1 us.run=poweroff',
    disk: true,
    secondDisk: 128,
    memory: '160M',
    inTestGuest: true,
  },
  {
    name: 'rep',
    us: () => 'us.test=rep us.count=6000 us.run=poweroff',
    inTestGuest: true,
    drive: (running) => sees(running, 'rep: 6000 rounds'),
  },
  {
    name: 'reset-under-io',
    us: () => 'us.test=unbind us.count=8 us.disk=1 us.run=poweroff',
    disk: true,
    secondDisk: 16,
    inTestGuest: true,
    devices: 'virtio',
  },
  { name: 'multiboot', us: () => 'a b', disk: true, nosy: 'multiboot' },
  {
    name: 'no-room',
    us: () => 'us.test=fill us.disk=1 us.run=poweroff',
    disk: true,
    secondDisk: 64,
    secondDiskRoom: 20,
    inTestGuest: true,
    drive: (running) => sees(running, 'done fill, failed: yes'),
  },
  {
    name: 'discard',
    us: () => 'us.test=discard us.disk=1 us.run=poweroff',
    disk: true,
    secondDisk: 512,
    inTestGuest: true,
    drive: (running) => sees(running, 'done discard'),
  },
];

/** Builds the reference guest if need be; its paths. */
export async function referenceGuest(): Promise<Guest> {
  const { code, json, stderr } = await runJson(['guest', 'build']);
  if (code !== 0) throw new Error(`no reference guest: ${stderr}`);
  return json as unknown as Guest;
}

/** The reference guest; where it needs other drivers, the test guest. */
async function guestFor(workload: Workload, shape: Shape, reference: Guest): Promise<Guest> {
  const isReference = workload.boots !== undefined || shape.devices === 'virtio';
  if (workload.inTestGuest !== true && isReference) return reference;
  const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
  return { ...reference, kernel, initrd, append: `${reference.append} ${append}` };
}

/** Records the workload once and verifies its replay. */
export async function recordAndReplay(
  workload: Workload,
  options: {
    dir: string;
    guest: Guest;
    seed: number;
    shape?: Shape;
    netperfS?: number;
    /** Environment of both QEMUs. */
    env?: Readonly<Record<string, string>>;
    /** For `record --checkpoint-every`. */
    checkpointEvery?: string;
    /** For `record --retain`. */
    retain?: string;
  },
): Promise<Result> {
  const { dir, seed, shape = PLAIN, env = {} } = options;
  const base = { workload: workload.name, shape: shapeName(shape), seed };
  if (workload.devices !== undefined && workload.devices !== shape.devices) {
    return { ...base, ok: true, skipped: `only with ${workload.devices} devices` };
  }
  const guest = await guestFor(workload, shape, options.guest);
  const netns = workload.network === true ? makeNetns(`x${seed % 10_000}`) : null;
  if (workload.network === true && netns === null) {
    return { ...base, ok: true, skipped: 'no right to make a network namespace' };
  }
  try {
    mkdirSync(dir, { recursive: true });
    await writeVm(workload, shape, dir, guest, netns);
    const out = join(dir, 'recording');
    const words = ['record', join(dir, 'VM.toml'), '--out', out];
    const prefix = [...(netns?.prefix ?? []), ...littleRoom(workload, dir)];
    if (workload.secondDiskRoom !== undefined) words.push('--on-disk-error', 'report');
    if (workload.digestEvery !== undefined) words.push('--digest-every', workload.digestEvery);
    if (options.checkpointEvery !== undefined) {
      words.push('--checkpoint-every', options.checkpointEvery);
    }
    if (options.retain !== undefined) words.push('--retain', options.retain);
    const record = start(words, {
      timeoutMs: 600_000,
      env,
      ...(prefix.length === 0 ? {} : { prefix }),
    });
    let facts: Record<string, unknown> = {};
    try {
      const random = new Random(seed);
      const context = { dir, guest, random, netns, netperfS: options.netperfS ?? 3 };
      facts = (await workload.drive?.(record, context)) ?? {};
    } catch (error) {
      record.child.kill('SIGKILL');
      const { stderr } = await record.done;
      return { ...base, ok: false, failure: `record: ${String(error)} ${stderr}` };
    }
    const recorded = await record.done;
    if (recorded.code !== 0) {
      return { ...base, ok: false, failure: `record: ${recorded.stderr}`, facts };
    }
    return { ...base, ...(await verify(out, env)), facts };
  } finally {
    netns?.remove();
  }
}

async function verify(
  out: string,
  env: Readonly<Record<string, string>>,
): Promise<Omit<Result, 'workload' | 'shape' | 'seed'>> {
  const end = JSON.parse(readFileSync(join(out, 'end.json'), 'utf8')) as Record<string, number>;
  const { code, stdout, stderr } = await run(['replay', out, '--verify', '--json'], {
    timeoutMs: 1_200_000,
    env,
  });
  const numbers = {
    records: end.records ?? 0,
    logBytes: end.log_bytes ?? 0,
    icount: end.icount ?? 0,
    recordS: end.wall_s ?? 0,
  };
  const first = stdout.split('\n')[0] ?? '';
  if (code !== 0) return { ok: false, failure: `replay (exit ${code}): ${stderr}`, ...numbers };
  const json = JSON.parse(first) as Record<string, unknown>;
  const same = json.digest === (end as Record<string, unknown>).digest && json.verified === true;
  return {
    ok: same && json.disks_identical === true && json.console_identical === true,
    ...(same ? {} : { failure: `not verified: ${first}` }),
    ...numbers,
    replayS: Number(json.wall_s),
  };
}
