// SPDX-License-Identifier: Apache-2.0
/**
 * A recording: a folder that replays by itself on another machine.
 *
 *   VM.toml       the VM as used, normalised, paths inside the folder
 *   vm.json       Manifest: what must match to replay it, and where it came from
 *   kernel initrd copies
 *   firmware/     SeaBIOS and option ROMs, copies
 *   disks/N.raw   the disks as they were at power-on, sparse
 *   log/          segments of the exit log
 *   console.log   every byte the guest printed that was covered by the log
 *   checkpoints/  with --checkpoint-every: states to start at, by icount
 *   retained.json with --retain: where it begins, once its oldest part is deleted
 *   end.json      EndFacts; missing when the recorder was killed
 *
 * Nothing but the recorder writes into it. Replay works on copies.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { arch, cpus, release } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { errorCodeOf, messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import { nameOf } from '../base/position.ts';
import { located, positionFields, positionShape } from '../base/position-json.ts';
import { copyPrivately } from '../base/private-copy.ts';
import { LOG_VERSION } from '../log/batch.ts';
import {
  checkBootFile,
  configHash,
  configToToml,
  loadConfig,
  type VmConfig,
} from '../vm/config.ts';
import { copySparse, type DiskHash, hashDisks } from '../vm/disk.ts';
import { copyFirmware, hashFirmware } from '../vm/firmware.ts';
import { rtcBaseNow } from '../vm/qemu-args.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { type Retained, readRetained } from './retained.ts';

/** Version of the folder's layout; the log has a version of its own. */
const FORMAT = 1;

const hash64 = z.string().regex(/^[0-9a-f]{16}$/);
const diskHash = z.object({ hash: hash64, bytes: z.int().nonnegative() });

export const manifestSchema = z.object({
  format: z.int(),
  log_version: z.int(),
  name: z.string(),
  /** 32 hex digits; every batch of the log carries it. */
  vm_id: z.string().regex(/^[0-9a-f]{32}$/),
  /** Guest clock at power-on, UTC. */
  rtc_base: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/),
  config_hash: z.string().regex(/^[0-9a-f]{64}$/),
  qemu: z.object({
    build_id: z.string().min(1),
    version: z.string(),
    /** sha256 of the firmware's files; missing in older recordings. */
    firmware: z.record(z.string(), z.string()).optional(),
  }),
  /** The images at power-on. */
  disks: z.array(diskHash),
  created: z.string(),
  host: z.object({ arch: z.string(), cpu: z.string(), kernel: z.string(), node: z.string() }),
});

export type Manifest = z.output<typeof manifestSchema>;

const endShape = z.object({
  /** poweroff: the guest switched itself off; stop: the operator ended it. */
  reason: z.enum(['poweroff', 'stop']),
  ...positionShape,
  digest: z.string(),
  /** The images at the end. */
  disks: z.array(diskHash),
  /** Written whole; given up. Missing where none were asked for. */
  checkpoints: z.int().optional(),
  checkpoints_failed: z.int().optional(),
  records: z.int(),
  batches: z.int(),
  log_bytes: z.int(),
  console_bytes: z.int(),
  wall_s: z.number(),
});

const endSchema = endShape.transform(located);

export type EndFacts = z.output<typeof endSchema>;

export interface RecordingPaths {
  readonly dir: string;
  readonly config: string;
  readonly manifest: string;
  readonly log: string;
  readonly console: string;
  readonly end: string;
  readonly checkpoints: string;
  readonly retained: string;
  /** What the guest executes of the host's; older recordings have none. */
  readonly firmware: string;
}

export interface Recording {
  readonly paths: RecordingPaths;
  readonly manifest: Manifest;
  readonly config: VmConfig;
  /** Null when the recorder was killed: the log ends wherever it ends. */
  readonly end: EndFacts | null;
  /** Where it begins; null: at power-on. */
  readonly retained: Retained | null;
}

export function recordingPaths(dir: string): RecordingPaths {
  const root = resolve(dir);
  return {
    dir: root,
    config: join(root, 'VM.toml'),
    manifest: join(root, 'vm.json'),
    log: join(root, 'log'),
    console: join(root, 'console.log'),
    end: join(root, 'end.json'),
    checkpoints: join(root, 'checkpoints'),
    retained: join(root, 'retained.json'),
    firmware: join(root, 'firmware'),
  };
}

/**
 * Refuses a folder that has something in it: recordings are never overwritten.
 * @throws UnderstudyError output-exists | file-io
 */
export function checkOutput(dir: string): void {
  const root = resolve(dir);
  if (!existsSync(root)) return;
  if (!statSync(root).isDirectory()) {
    throw new UnderstudyError(
      'output-exists',
      `${root} exists and is not a folder: give another --out`,
    );
  }
  if (readdirSync(root).length > 0) {
    throw new UnderstudyError(
      'output-exists',
      `${root} is not empty: recordings are never overwritten; give another --out or remove it`,
    );
  }
}

/**
 * Makes the folder for a VM that is about to start, with everything a replay
 * needs but the log. The disks must be claimed: they may not change during it.
 * @param onCreated told the folder as soon as there is something in it to clean up
 */
export async function createRecording(
  dir: string,
  config: VmConfig,
  qemu: QemuBinary,
  onCreated: (dir: string) => void,
): Promise<Recording> {
  checkOutput(dir);
  const paths = recordingPaths(dir);
  if (config.kernel !== null) checkBootFile(config.kernel, 'kernel');
  if (config.initrd !== null) checkBootFile(config.initrd, 'initrd');
  const hash = await configHash(config);
  try {
    mkdirSync(paths.log, { recursive: true });
    onCreated(paths.dir);
  } catch (cause) {
    throw writeError(`the recording ${paths.dir}`, cause);
  }
  const copies = await copyVm(paths.dir, config, qemu);
  const vm = { vmId: randomBytes(16).toString('hex'), rtcBase: rtcBaseNow(), configHash: hash };
  const manifest = manifestOf(config.name, qemu, vm, await hashDisks(copies));
  writeJson(paths.manifest, manifest);
  return { paths, manifest, config, end: null, retained: null };
}

/**
 * Puts the VM into a folder that is there: its VM.toml, kernel, initrd, firmware and disks.
 * @returns the copies of the disks
 * @throws UnderstudyError disk-full | log-write
 */
export async function copyVm(
  dir: string,
  config: VmConfig,
  { firmwareDir }: Pick<QemuBinary, 'firmwareDir'>,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const images = config.disks.map((_, index) => join('disks', `${index}.raw`));
  try {
    if (images.length > 0) mkdirSync(join(dir, 'disks'), { recursive: true });
    if (config.kernel !== null) copyPrivately(config.kernel, join(dir, 'kernel'));
    if (config.initrd !== null) copyPrivately(config.initrd, join(dir, 'initrd'));
    copyFirmware(firmwareDir, recordingPaths(dir).firmware);
    const toml = configToToml(config, {
      kernel: config.kernel === null ? null : 'kernel',
      initrd: config.initrd === null ? null : 'initrd',
      disks: images,
    });
    writeFileSync(recordingPaths(dir).config, toml);
  } catch (cause) {
    throw writeError(`the copy of the VM in ${dir}`, cause);
  }
  const copies = images.map((image) => join(dir, image));
  for (const [index, disk] of config.disks.entries()) {
    await copySparse(disk.image, copies[index] ?? '', signal);
  }
  return copies;
}

/** What a log is of, and where and when it began: now. */
export function manifestOf(
  name: string,
  qemu: Pick<QemuBinary, 'buildId' | 'version' | 'firmwareDir'>,
  vm: { readonly vmId: string; readonly rtcBase: string; readonly configHash: string },
  disks: readonly DiskHash[],
): Manifest {
  return {
    format: FORMAT,
    log_version: LOG_VERSION,
    name,
    vm_id: vm.vmId,
    rtc_base: vm.rtcBase,
    config_hash: vm.configHash,
    qemu: {
      build_id: qemu.buildId,
      version: qemu.version,
      firmware: hashFirmware(qemu.firmwareDir),
    },
    disks: [...disks],
    created: new Date().toISOString(),
    host: {
      arch: arch(),
      cpu: cpus()[0]?.model ?? 'unknown',
      kernel: release(),
      node: process.version,
    },
  };
}

/** Writes end.json: the recording is whole. */
export function finishRecording(recording: Recording, end: EndFacts): void {
  writeJson(recording.paths.end, endJson(end));
}

/** As end.json has it. */
export function endJson({ reason, point, vtimeNs, ...rest }: EndFacts) {
  return { reason, ...positionFields({ point, vtimeNs }), ...rest };
}

/**
 * Opens a recording; does not look into its log.
 * @throws UnderstudyError not-a-recording | log-version | log-corrupt
 */
export function openRecording(dir: string): Recording {
  const paths = recordingPaths(dir);
  if (!existsSync(paths.manifest)) {
    throw new UnderstudyError(
      'not-a-recording',
      `${paths.dir} is not a recording: it has no vm.json (\`understudy record\` makes one)`,
    );
  }
  const raw = readJson(paths.manifest);
  const format = (raw as { format?: unknown } | null)?.format;
  const version = (raw as { log_version?: unknown } | null)?.log_version;
  if (format !== FORMAT || version !== LOG_VERSION) {
    throw new UnderstudyError(
      'log-version',
      `${paths.dir} has log version ${String(version)} (folder format ${String(format)}), this ` +
        `understudy reads version ${LOG_VERSION} (format ${FORMAT}): use the understudy that made it`,
    );
  }
  const manifest = check(manifestSchema, raw, paths.manifest);
  const config = loadConfig(paths.config);
  const end = existsSync(paths.end) ? check(endSchema, readJson(paths.end), paths.end) : null;
  return { paths, manifest, config, end, retained: readRetained(paths.retained) };
}

/** @throws UnderstudyError usage, for what needs a recording from power-on */
export function refuseRetained({ paths, retained }: Recording, what: string): void {
  if (retained === null) return;
  throw new UnderstudyError(
    'usage',
    `${what} needs a recording from power-on; of ${paths.dir} only what follows ` +
      `${nameOf(retained.from)} was retained`,
  );
}

function check<T>(schema: z.ZodType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new UnderstudyError(
    'log-corrupt',
    `${path} is damaged: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not as written'}`,
  );
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    const code = errorCodeOf(cause) === null ? 'log-corrupt' : 'file-io';
    throw new UnderstudyError(code, `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/** Whether two lists of images have the same content. */
export function sameDisks(a: readonly DiskHash[], b: readonly DiskHash[]): boolean {
  return (
    a.length === b.length &&
    a.every((disk, index) => disk.hash === b[index]?.hash && disk.bytes === b[index]?.bytes)
  );
}
