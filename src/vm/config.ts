// SPDX-License-Identifier: Apache-2.0
/**
 * VM.toml: read, validated strictly, and normalised to a VmConfig.
 *
 * A key that is not known is an error that names the file, the key and the
 * nearest known key; so is a device that is not known to be exact (whitelist.ts).
 * Nothing here looks at images or interfaces: see disk.ts and tap.ts.
 */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parse, stringify, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { assert } from '../base/assert.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { DiskMode } from '../epochs/protocol.ts';
import type { AnyProtocolName } from '../epochs/registry.ts';
import { type AccelName, DEFAULT_ACCEL } from './accel/registry.ts';
import { type ArbiterConfig, arbiterConfig, wrongArbiter } from './config-arbiter.ts';
import { type GuardConfig, guardConfig } from './config-guard.ts';
import {
  type DISK_INTERFACES,
  type FileConfig,
  fileSchema,
  KNOWN_KEYS,
  type MACHINES,
  type NIC_MODELS,
} from './config-schema.ts';
import type { OnDiskError } from './disk-news.ts';
import { checkForProtocol } from './for-protocol.ts';
import { type LinkTrust, linkTrust } from './link-trust.ts';
import { checkQemuArgs, checkWhitelist } from './whitelist.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface DiskConfig {
  /** Absolute path of this side's own image. */
  readonly image: string;
  readonly format: 'raw';
  /** What the guest sees it on. */
  readonly interface: DiskInterface;
}

export type Machine = (typeof MACHINES)[number];
export type NicModel = (typeof NIC_MODELS)[number];
export type DiskInterface = (typeof DISK_INTERFACES)[number];

export type NicBackend =
  | { readonly kind: 'tap'; readonly ifname: string }
  /** slirp: record and replay only, its connections die with the process. */
  | { readonly kind: 'user' };

export interface NicConfig {
  readonly model: NicModel;
  /** Lower case, colons. */
  readonly mac: string;
  readonly backend: NicBackend;
}

export interface ReplicationConfig extends ArbiterConfig {
  /** Where the primary listens. */
  readonly primary: Address;
  readonly backup: Address | null;
  /** Where each replica listens; then `primary` is the first of them. None: it is a pair's. */
  readonly replicas: readonly Address[];
  /** This replica runs no VM. */
  readonly witness: boolean;
  readonly protocol: AnyProtocolName;
  /** Length of an epoch, of a protocol that has them. */
  readonly epochInstructions: number;
  /** Time of an epoch at most, and how long a packet waits for its end, of a protocol by checkpoint. */
  readonly intervalMs: number;
  /** How far that is stretched, and pages of an epoch; null: as its protocol has it. */
  readonly intervalMsMax: number | null;
  readonly epochPagesMax: number | null;
  readonly outputWaitUsMax: number;
  /** What such a protocol ships of disk writes. */
  readonly disk: DiskMode;
  readonly heartbeatMs: number;
  readonly heartbeatMissed: number;
  /** A disk, a thread or an ack that stands still for longer is a failure of its side. */
  readonly stuckMsMax: number;
  /** A live VM without a backup: it goes on, or its outputs wait for one. */
  readonly unprotected: Unprotected;
  readonly lagMsMax: number;
  readonly durability: 'memory' | 'disk';
  readonly batchUsMax: number;
  /** Size of each side's log on disk; beyond it the oldest segments are deleted. */
  readonly logMibMax: number;
  /** Instructions between two digests in the log; 0: none. */
  readonly digestEvery: number;
  /** How much of its past each side keeps, to be replayed; 0: none. */
  readonly historyMs: number;
  /** A write for which the host has no room. */
  readonly onDiskError: OnDiskError;
  readonly link: LinkTrust;
}

/** `unprotected` of [replication]. */
export type Unprotected = 'run' | 'hold';

/** A VM as configured, every path absolute. */
export interface VmConfig {
  /** The file it came from. */
  readonly file: string;
  readonly name: string;
  readonly memoryBytes: number;
  readonly machine: Machine;
  readonly vcpus: number;
  readonly accel: AccelName;
  readonly kernel: string | null;
  readonly initrd: string | null;
  readonly append: string;
  /** Whether there is a virtio-rng device. */
  readonly rng: boolean;
  /** Whether there is a VGA card: a text console for the guest, shown to nobody. */
  readonly vga: boolean;
  readonly disks: readonly DiskConfig[];
  readonly nics: readonly NicConfig[];
  readonly replication: ReplicationConfig | null;
  /** Who watches the services in the guest; null: nobody. */
  readonly guard: GuardConfig | null;
  /** Extra QEMU arguments, checked against the whitelist. */
  readonly qemuArgs: readonly string[];
}

/**
 * Reads and validates VM.toml.
 * @throws UnderstudyError config-* | not-exact, all with exit code 2
 */
export function loadConfig(path: string): VmConfig {
  const file = resolve(path);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UnderstudyError('config-unreadable', `cannot read ${file}: ${messageOf(cause)}`, {
      cause,
    });
  }
  return parseConfig(text, file);
}

/** As loadConfig, for text that came from `file` (relative paths resolve against its folder). */
export function parseConfig(text: string, file: string): VmConfig {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    const where = cause instanceof TomlError ? `${file}:${cause.line}:${cause.column}` : file;
    const why = messageOf(cause).split('\n')[0] ?? 'not TOML';
    throw new UnderstudyError('config-syntax', `${where}: ${why}`, { cause });
  }
  // Before the schema: "e1000 is not yet exact" says more than "expected virtio-net-pci".
  checkWhitelist(document, file);
  const result = fileSchema.safeParse(document);
  if (!result.success) throw schemaError(result.error.issues, file);
  const config = normalise(result.data, file);
  const { replication: given } = document as { readonly replication?: object };
  if (given !== undefined && config.replication !== null) {
    const wrong = wrongArbiter(config.replication);
    if (wrong !== null) throw new UnderstudyError('config-value', `${file}: ${wrong}`);
    checkForProtocol(given, config.replication, config);
  }
  return config;
}

function normalise(raw: FileConfig, file: string): VmConfig {
  const absolute = (path: string): string =>
    isAbsolute(path) ? path : resolve(dirname(file), path);
  if (raw.kernel === undefined && raw.disk.length === 0) {
    throw new UnderstudyError(
      'config-value',
      `${file}: nothing to boot from: give a kernel = "…" or a [[disk]]`,
    );
  }
  if (raw.kernel === undefined && (raw.initrd !== undefined || raw.append !== undefined)) {
    const key = raw.initrd !== undefined ? 'initrd' : 'append';
    throw new UnderstudyError('config-value', `${file}: ${key} needs a kernel = "…"`);
  }
  checkQemuArgs(raw.qemu.args, file);
  checkDisksFit(raw, file);
  const macs = raw.nic.map((nic, index) => nic.mac ?? defaultMac(index));
  const taken = macs.find((mac, index) => macs.indexOf(mac) !== index);
  if (taken !== undefined) {
    throw new UnderstudyError('config-value', `${file}: two [[nic]] have the mac ${taken}`);
  }
  const taps = raw.nic.flatMap((nic) => nic.tap ?? []);
  const tap = taps.find((name, index) => taps.indexOf(name) !== index);
  if (tap !== undefined) {
    throw new UnderstudyError('config-value', `${file}: two [[nic]] use the tap ${tap}`);
  }
  return {
    file,
    name: raw.name,
    memoryBytes: raw.memory,
    machine: raw.machine,
    vcpus: raw.vcpus,
    accel: raw.accel,
    kernel: raw.kernel === undefined ? null : absolute(raw.kernel),
    initrd: raw.initrd === undefined ? null : absolute(raw.initrd),
    append: raw.append ?? '',
    rng: raw.rng,
    vga: raw.vga,
    disks: raw.disk.map((disk) => ({
      image: absolute(disk.image),
      format: disk.format,
      interface: disk.interface,
    })),
    nics: raw.nic.map((nic, index) => ({
      model: nic.model,
      mac: macs[index] ?? defaultMac(index),
      backend: nic.tap === undefined ? { kind: 'user' } : { kind: 'tap', ifname: nic.tap },
    })),
    replication:
      raw.replication === undefined ? null : normaliseReplication(raw.replication, absolute),
    guard: guardConfig(raw.guard),
    qemuArgs: raw.qemu.args,
  };
}

/** How many disks of an interface a machine has room for. */
const DISKS_MAX: Readonly<Record<Machine, Readonly<Record<DiskInterface, number>>>> = {
  pc: { 'virtio-blk': 8, 'virtio-scsi': 8, ide: 4, ahci: 0 },
  q35: { 'virtio-blk': 8, 'virtio-scsi': 8, ide: 0, ahci: 6 },
};

function checkDisksFit(raw: FileConfig, file: string): void {
  for (const [name, most] of Object.entries(DISKS_MAX[raw.machine])) {
    const count = raw.disk.filter((disk) => disk.interface === name).length;
    if (count <= most) continue;
    const room = most === 0 ? `has no ${name}` : `has room for ${most} ${name} disks`;
    const other = raw.machine === 'pc' ? 'ahci' : 'ide';
    const hint = name === other ? `; use "${raw.machine === 'pc' ? 'ide' : 'ahci'}"` : '';
    throw new UnderstudyError('config-value', `${file}: a ${raw.machine} machine ${room}${hint}`);
  }
}

function normaliseReplication(
  raw: NonNullable<FileConfig['replication']>,
  absolute: (path: string) => string,
): ReplicationConfig {
  const { replicas = [] } = raw;
  const [primary = raw.primary] = replicas;
  assert(primary !== undefined, 'the schema asks for one of them');
  return {
    primary,
    replicas,
    witness: raw.witness,
    backup: raw.backup ?? null,
    protocol: raw.protocol,
    epochInstructions: raw.epoch_instructions,
    intervalMs: raw.interval_ms,
    intervalMsMax: raw.interval_ms_max ?? null,
    epochPagesMax: raw.epoch_pages_max ?? null,
    outputWaitUsMax: raw.output_wait_us_max,
    disk: raw.disk,
    ...arbiterConfig(raw, absolute),
    heartbeatMs: raw.heartbeat_ms,
    heartbeatMissed: raw.heartbeat_missed,
    stuckMsMax: raw.stuck_ms_max,
    unprotected: raw.unprotected,
    lagMsMax: raw.lag_ms_max,
    durability: raw.durability,
    batchUsMax: raw.batch_us_max,
    logMibMax: raw.log_mib_max,
    digestEvery: raw.digest_every,
    historyMs: raw.history,
    onDiskError: raw.on_disk_error,
    link: linkTrust(raw, absolute),
  };
}

function defaultMac(index: number): string {
  return `52:54:00:12:34:${(0x56 + index).toString(16)}`;
}

function schemaError(issues: readonly z.core.$ZodIssue[], file: string): UnderstudyError {
  const lines = issues.map((issue) => `${file}: ${describeIssue(issue)}`);
  const unknown = issues.find((issue) => issue.code === 'unrecognized_keys');
  return new UnderstudyError(
    unknown === undefined ? 'config-value' : 'config-unknown-key',
    lines.join('\n'),
    {
      details: {
        file,
        keys: unknown?.code === 'unrecognized_keys' ? unknown.keys : [],
      },
    },
  );
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const table = issue.path.filter((part) => typeof part === 'string').join('.');
  const where = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : String(part)))
    .join('.')
    .replaceAll('.[', '[');
  if (issue.code === 'unrecognized_keys') {
    const known = KNOWN_KEYS[table] ?? [];
    const parts = issue.keys.map((key) => {
      const hint = nearest(key, known);
      const suggestion = hint === null ? '' : `; the nearest known key is "${hint}"`;
      return `unknown key "${key}"${table === '' ? '' : ` in ${where}`}${suggestion}`;
    });
    return parts.join('\n');
  }
  return where === '' ? issue.message : `${where}: ${issue.message}`;
}

/**
 * VM.toml text of a configuration, with the paths given (relative to where the
 * text will be put). Replication is left out: a recording belongs to no pair.
 */
export function configToToml(
  config: VmConfig,
  paths: { kernel: string | null; initrd: string | null; disks: readonly string[] },
): string {
  const document: Record<string, unknown> = {
    name: config.name,
    memory: `${config.memoryBytes / 2 ** 20}M`,
    machine: config.machine,
    vcpus: config.vcpus,
    rng: config.rng,
    vga: config.vga,
  };
  if (paths.kernel !== null) {
    document.kernel = paths.kernel;
    if (config.append !== '') document.append = config.append;
  }
  if (paths.initrd !== null) document.initrd = paths.initrd;
  if (config.disks.length > 0) {
    document.disk = config.disks.map((disk, index) => ({
      image: paths.disks[index] ?? disk.image,
      format: disk.format,
      interface: disk.interface,
    }));
  }
  if (config.nics.length > 0) {
    document.nic = config.nics.map((nic) => ({
      model: nic.model,
      mac: nic.mac,
      ...(nic.backend.kind === 'tap' ? { tap: nic.backend.ifname } : { user: true }),
    }));
  }
  // A recording belongs to no pair, but its machine has the port.
  if (hasGuardPort(config)) document.guard = { agent: true };
  if (config.qemuArgs.length > 0) document.qemu = { args: [...config.qemuArgs] };
  return `${stringify(document)}\n`;
}

/**
 * Hash (64 hex digits) of everything the guest can see of its configuration:
 * equal on two sides exactly when their guests start alike, whatever their
 * paths, tap names and addresses. Disk contents are hashed apart (disk.ts).
 * @throws UnderstudyError boot-file when the kernel or initrd cannot be read
 */
export async function configHash(config: VmConfig): Promise<string> {
  const visible = {
    version: 1,
    memoryBytes: config.memoryBytes,
    // What later versions added counts only where it is used: hashes stay.
    ...(config.machine === 'pc' ? {} : { machine: config.machine }),
    vcpus: config.vcpus,
    ...(config.accel === DEFAULT_ACCEL ? {} : { accel: config.accel }),
    kernel: config.kernel === null ? null : await bootFileHash(config.kernel, 'kernel'),
    initrd: config.initrd === null ? null : await bootFileHash(config.initrd, 'initrd'),
    append: config.append,
    rng: config.rng,
    ...(config.vga ? { vga: true } : {}),
    disks: config.disks.map((disk) =>
      disk.interface === 'virtio-blk' ? disk.format : [disk.format, disk.interface],
    ),
    // The kind of back end decides which offloads the NIC offers.
    nics: config.nics.map((nic) => [nic.model, nic.mac, nic.backend.kind]),
    ...(hasGuardPort(config) ? { guard: true } : {}),
    qemuArgs: config.qemuArgs,
  };
  return createHash('sha256').update(JSON.stringify(visible)).digest('hex');
}

/** Whether the machine has a second serial port, for a guard in the guest. */
export function hasGuardPort(config: Pick<VmConfig, 'guard'>): boolean {
  return config.guard?.agent === true;
}

async function bootFileHash(path: string, key: 'kernel' | 'initrd'): Promise<string> {
  checkBootFile(path, key);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** @throws UnderstudyError boot-file when it is missing, no file or cannot be read */
export function checkBootFile(path: string, key: 'kernel' | 'initrd'): void {
  let problem: string | null = null;
  try {
    if (!statSync(path).isFile()) problem = 'it is not a file';
  } catch (cause) {
    problem = messageOf(cause);
  }
  if (problem !== null) {
    throw new UnderstudyError('boot-file', `${key} "${path}" cannot be used: ${problem}`);
  }
}
