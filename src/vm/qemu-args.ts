// SPDX-License-Identifier: Apache-2.0
/**
 * The QEMU command line of a VM: the same for its primary, its backup and every
 * replay, but for what the guest cannot see (mode, image paths, back ends).
 */
import { testHook } from '../base/test-hooks.ts';
import { accelByName } from './accel/registry.ts';
import type { CheckpointNumbers } from './checkpointing.ts';
import { type DiskInterface, hasGuardPort, type VmConfig } from './config.ts';
import { type Confinement, confineOption, sandboxArgs } from './confinement.ts';
import type { OnDiskError } from './disk-news.ts';

/** What each NIC is attached to in this process. */
export type NetBackends =
  /** As configured: record, a primary, and a backup (which waits to go live). */
  | 'configured'
  /** Nothing: `understudy replay`, which never goes live. */
  | 'none';

export interface QemuArgsOptions {
  readonly mode: 'record' | 'replay';
  /** RTC at power-on, UTC, "2026-11-21T07:00:00": chosen once by who records. */
  readonly rtcBase: string;
  readonly firmwareDir: string;
  readonly net: NetBackends;
  /** Images in the order of config.disks; default: those of the config. */
  readonly diskImages?: readonly string[];
  /** A live VM logs a digest every so many instructions; 0: none. */
  readonly digestEvery?: number;
  /**
   * A live VM writes checkpoints: as often as `numbers` say, and when the ring asks for
   * one. A replay does where the log has one, if `numbers` say that any recur.
   */
  readonly checkpoints?: {
    readonly dir: string;
    readonly numbers: CheckpointNumbers | { readonly everyInstructions: 0; readonly everyMs: 0 };
    /** Folder of those that the ring asks for. Default: dir. */
    readonly askedDir?: string;
  };
  /** A replay's file that lists the chain to start from (qemu/exitlog/cut/checkpoint-load.c). */
  readonly checkpoint?: string;
  /**
   * A replay that executes nothing: it waits beside an image, whose main memory is its own
   * until it goes live; a file will have the rest of it then (QemuProcess: ImageFds;
   * qemu/exitlog/cut/image.c).
   */
  readonly image?: boolean;
  /** A replay's file of positions to look at (qemu/exitlog/verify/probe.c). */
  readonly probes?: string;
  /** Socket on which a replay waits for a debugger (qemu/exitlog/debug/debug.c). */
  readonly debugSocket?: string;
  /** For a VM that is or may go live; a replay waits for what its log says. */
  readonly onDiskError?: OnDiskError;
  /** What its disk fails is left to a backup that it has (qemu/exitlog/exits/disk-error.c). */
  readonly leavesFailing?: boolean;
  /** A request that takes longer is told (qemu/exitlog/exits/disk-stuck.c); default: none is. */
  readonly diskStuckMs?: number;
  /** Something to do wrong on purpose, for tests (qemu/exitlog/verify/fault.c). */
  readonly fault?: string | undefined;
  /** What it gives up before the guest runs. A command line that is only compared has none. */
  readonly confinement?: Confinement;
}

/** The fault asked for in the environment; docs/divergence.md. Not for users. */
export function faultFromEnv(): string | undefined {
  return testHook('UNDERSTUDY_FAULT') ?? undefined;
}

/** Descriptors QEMU inherits (QemuProcess puts them there). */
export const SHM_FD = 3;
export const NOTIFY_FD = 4;
export const WAKE_FD = 5;
/** Only with `image`. */
export const MEMORY_FD = 6;
export const REST_FD = 7;
/** The first tap; the others follow. */
export const TAP_FD = 8;

/** Interfaces of the taps that QEMU inherits, in the order of their descriptors. */
export function tapsOf(config: VmConfig, net: NetBackends): string[] {
  if (net === 'none') return [];
  return config.nics.flatMap(({ backend }) => (backend.kind === 'tap' ? [backend.ifname] : []));
}

/** What QEMU calls a PC's main memory, by itself and here: digests depend on it. */
const MEMORY = 'pc.ram';

/**
 * For translated code. QEMU's own default is 1 GiB: a guest that starts program after
 * program fills it for hours, and a daemon's memory seems to grow for ever.
 */
const CODE_MIB = 64;

// PCI slots are fixed so that a device does not move when another one is added.
const VGA_SLOT = 0x2; // where QEMU's own pc puts it
const RNG_SLOT = 0x3;
const DISK_SLOT = 0x4;
const SCSI_SLOT = 0xc;
const NIC_SLOT = 0x10;

/** Largest discard: more takes long where the host cannot free, and holds up a checkpoint. */
const DISCARD_BYTES_MAX = 128 * 2 ** 20;
/**
 * QEMU's default is the image's, which the guest could see; less than a block of most file
 * systems frees nothing.
 */
const DISCARD_BYTES = 4096;

const VIRTIO_NIC_OPTIONS =
  'ioeventfd=off,guest_announce=off,guest_ufo=off,host_ufo=off,host_uso=off,' +
  'guest_uso4=off,guest_uso6=off';

export function qemuArgs(config: VmConfig, options: QemuArgsOptions): string[] {
  const extra = [...config.qemuArgs];
  const args = ['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none'];
  if (options.confinement !== undefined) args.push(...sandboxArgs(options.confinement));
  args.push('-L', options.firmwareDir, '-name', config.name);
  const memory = options.image === true ? `,memory-backend=${MEMORY}` : '';
  args.push('-machine', `${config.machine},usb=off,vmport=off,hpet=on${memory}`);
  if (options.image === true) {
    args.push(
      '-object',
      `memory-backend-file,id=${MEMORY},size=${config.memoryBytes},share=on,` +
        `mem-path=/proc/self/fd/${MEMORY_FD}`,
    );
  }
  args.push(...accelByName(config.accel).args(CODE_MIB));
  if (!extra.includes('-cpu')) args.push('-cpu', 'max');
  args.push('-m', `${config.memoryBytes / 2 ** 20}M`);
  args.push('-smp', String(config.vcpus), '-rtc', `base=${options.rtcBase},clock=vm`);
  args.push('-exitlog', exitlogOption(config, options));
  if (options.debugSocket !== undefined) {
    args.push('-gdb', `unix:${escapeCommas(options.debugSocket)},server=on,wait=off`);
  }
  if (config.kernel !== null) args.push('-kernel', config.kernel);
  if (config.initrd !== null) args.push('-initrd', config.initrd);
  if (config.kernel !== null && config.append !== '') args.push('-append', config.append);

  if (config.disks.some((disk) => disk.interface === 'virtio-scsi')) {
    args.push('-device', `virtio-scsi-pci,id=scsi,ioeventfd=off,addr=${slot(SCSI_SLOT)}`);
  }
  config.disks.forEach((disk, index) => {
    const image = options.diskImages?.[index] ?? disk.image;
    args.push(
      '-drive',
      `if=none,id=disk${index},file=${escapeCommas(image)},format=${disk.format},` +
        'cache=writeback,aio=threads,discard=unmap,detect-zeroes=off,' +
        'werror=report,rerror=report',
      '-device',
      diskDevice(disk.interface, index, ordinal(config, index)),
    );
  });
  config.nics.forEach((nic, index) => {
    // QEMU's own user-mode network, behind the exit log's back end.
    if (nic.backend.kind === 'user' && options.net === 'configured') {
      args.push('-netdev', `user,id=user${index}`);
    }
    args.push(
      '-device',
      `${nic.model},netdev=net${index},mac=${nic.mac},` +
        `${nic.model === 'e1000' ? '' : `${VIRTIO_NIC_OPTIONS},`}romfile=,` +
        `addr=${slot(NIC_SLOT + index)}`,
    );
  });
  args.push('-device', 'isa-serial,chardev=console0');
  if (hasGuardPort(config)) args.push('-device', 'isa-serial,chardev=console1');
  if (config.vga) args.push('-device', `VGA,addr=${slot(VGA_SLOT)}`);
  if (config.rng) {
    args.push('-object', 'rng-builtin,id=rng0');
    args.push('-device', `virtio-rng-pci,rng=rng0,ioeventfd=off,addr=${slot(RNG_SLOT)}`);
  }
  return [...args, ...extra];
}

/** Which of the disks on its interface the disk is. */
function ordinal(config: VmConfig, index: number): number {
  const kind = config.disks[index]?.interface;
  return config.disks.slice(0, index).filter((disk) => disk.interface === kind).length;
}

function diskDevice(kind: DiskInterface, index: number, nth: number): string {
  const blocks = 'logical_block_size=512,physical_block_size=512';
  const common = `drive=disk${index},${blocks},bootindex=${index + 1}`;
  switch (kind) {
    case 'virtio-blk':
      return (
        `virtio-blk-pci,drive=disk${index},ioeventfd=off,${blocks},` +
        `discard_granularity=${DISCARD_BYTES},max-discard-sectors=${DISCARD_BYTES_MAX / 512},` +
        `max-write-zeroes-sectors=${DISCARD_BYTES_MAX / 512},` +
        `bootindex=${index + 1},addr=${slot(DISK_SLOT + index)}`
      );
    case 'virtio-scsi':
      return (
        `scsi-hd,bus=scsi.0,scsi-id=${nth},discard_granularity=${DISCARD_BYTES},` +
        `max_unmap_size=${DISCARD_BYTES_MAX},${common}`
      );
    case 'ide':
      return `ide-hd,bus=ide.${nth >> 1},unit=${nth & 1},discard_granularity=512,${common}`;
    case 'ahci':
      return `ide-hd,bus=ide.${nth},discard_granularity=512,${common}`;
  }
}

function exitlogOption(config: VmConfig, options: QemuArgsOptions): string {
  const parts = [`mode=${options.mode}`, `shm=${SHM_FD}`, `notify=${NOTIFY_FD}`, `wake=${WAKE_FD}`];
  let tap = TAP_FD;
  config.nics.forEach(({ backend }, index) => {
    let value: string;
    if (options.net === 'none') value = backend.kind === 'user' ? 'none-user' : 'none';
    else value = backend.kind === 'user' ? 'user' : `tap:${tap++}`;
    parts.push(`net${index}=${value}`);
  });
  parts.push(...accelByName(config.accel).exitlog);
  if ((options.digestEvery ?? 0) > 0) parts.push(`digest-every=${options.digestEvery}`);
  if (options.checkpoints !== undefined) {
    const { dir, numbers, askedDir } = options.checkpoints;
    parts.push(
      `checkpoints=${escapeCommas(dir)}`,
      `checkpoint-icount=${numbers.everyInstructions}`,
      `checkpoint-ms=${numbers.everyMs}`,
      `checkpoint-chain=${'chainMax' in numbers ? numbers.chainMax : 0}`,
    );
    if (askedDir !== undefined) parts.push(`checkpoints-asked=${escapeCommas(askedDir)}`);
  }
  if (options.checkpoint !== undefined) {
    parts.push(`checkpoint=${escapeCommas(options.checkpoint)}`);
  }
  if (options.image === true) parts.push(`image=/proc/self/fd/${REST_FD}`);
  if (options.onDiskError === 'stop') parts.push('disk-full=wait');
  if (options.leavesFailing === true) parts.push('disk-failing=leave');
  if (options.diskStuckMs !== undefined) parts.push(`disk-stuck-ms=${options.diskStuckMs}`);
  if (options.debugSocket !== undefined) parts.push('debug=on');
  if (options.probes !== undefined) parts.push(`probes=${escapeCommas(options.probes)}`);
  if (options.confinement !== undefined) parts.push(confineOption(options.confinement));
  if (options.fault !== undefined) parts.push(`fault=${escapeCommas(options.fault)}`);
  return parts.join(',');
}

/** QEMU's option syntax: a comma in a value is doubled. */
function escapeCommas(value: string): string {
  return value.replaceAll(',', ',,');
}

function slot(number: number): string {
  return `0x${number.toString(16)}`;
}

/** An RTC base for a VM that starts now: UTC, whole seconds. */
export function rtcBaseNow(now: Date = new Date()): string {
  return now.toISOString().slice(0, 19);
}
