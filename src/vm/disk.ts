// SPDX-License-Identifier: Apache-2.0
/**
 * Disk images: each side of a VM owns a raw copy of its own, and nobody else
 * may write to it while the VM runs.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import {
  describeHolders,
  type FileLock,
  type Holder,
  holdersOf,
  tryLock,
} from '../base/file-lock.ts';
import { hex64 } from '../base/format.ts';
import type { VmConfig } from './config.ts';

const SECTOR_BYTES = 512;

/** Content of an image: what hello compares, what replay verifies. */
export interface DiskHash {
  /** xxh64 of the content, 16 hex digits. */
  readonly hash: string;
  readonly bytes: number;
}

/** The images of a running VM, locked until `release`. */
export interface DiskLocks {
  release(): void;
}

/**
 * Checks every image of the VM and takes it for this process: a second VM, the
 * other side, or another disk of the same VM cannot have it as well.
 * @param incomplete what a backup that joins again will complete
 * @throws UnderstudyError image-*, exit code 2, or image-in-use, exit code 1
 */
export function claimDisks(
  config: VmConfig,
  incomplete: 'refused' | 'allowed' = 'refused',
): DiskLocks {
  checkDistinct(config);
  for (const { image } of config.disks)
    if (incomplete === 'refused') checkWhole(image, config.file);
  const locks: FileLock[] = [];
  const release = (): void => {
    for (const lock of locks) lock.release();
  };
  try {
    for (const disk of config.disks) locks.push(claimImage(disk.image));
  } catch (error) {
    release();
    throw error;
  }
  return { release };
}

/**
 * Checks one image by itself.
 * @throws UnderstudyError image-missing | image-not-a-file | image-read-only | image-size
 */
export function checkImage(image: string): Stats {
  let stats: Stats;
  try {
    stats = statSync(image);
  } catch (cause) {
    throw new UnderstudyError(
      'image-missing',
      `disk image ${image} is missing or cannot be reached: ${messageOf(cause)}`,
      { cause },
    );
  }
  if (!stats.isFile()) {
    const kind = stats.isDirectory() ? 'a folder' : 'not a regular file';
    throw new UnderstudyError(
      'image-not-a-file',
      `disk image ${image} is ${kind}: give the path of a raw image file`,
    );
  }
  try {
    accessSync(image, constants.R_OK | constants.W_OK);
    // Root may write to it all the same, but its owner has said not to.
    if ((stats.mode & 0o222) === 0) throw new Error('no write permission is set on it');
  } catch (cause) {
    throw readOnly(image, cause);
  }
  if (stats.size === 0 || stats.size % SECTOR_BYTES !== 0) {
    throw new UnderstudyError(
      'image-size',
      `disk image ${image} has ${stats.size} bytes, which is not a whole number of ` +
        `${SECTOR_BYTES}-byte sectors: is it a raw image? ` +
        `(\`truncate -s %${SECTOR_BYTES} FILE\` rounds it up)`,
    );
  }
  const magic = qcowMagic(image);
  if (magic !== null) {
    throw new UnderstudyError(
      'image-not-a-file',
      `disk image ${image} is in ${magic} format, not raw: convert it with \`qemu-img convert -O raw\``,
    );
  }
  return stats;
}

/** Beside an image that a backup writes epoch by epoch (addon/image/disk_journal.h). */
export function journalOf(image: string): string {
  return `${image}.journal`;
}

/** What was made or removed beside it stays so. */
export function syncFolder(image: string): void {
  const fd = openSync(dirname(image), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Beside an image that a join has begun to overwrite. */
function incompleteMark(image: string): string {
  return `${image}.incomplete`;
}

/** From here on the image is of no moment of any VM, until `markWhole`. */
export function markIncomplete(image: string): void {
  try {
    writeFileSync(incompleteMark(image), 'a join of a backup was copying this image\n', {
      flush: true,
    });
    // What a backup before wrote here is of no use any more.
    rmSync(journalOf(image), { force: true });
    syncFolder(image);
  } catch (cause) {
    throw writeError(incompleteMark(image), cause);
  }
}

/** It is synced, and its side may take over with it. */
export function markWhole(image: string): void {
  rmSync(incompleteMark(image), { force: true });
}

export function isIncomplete(image: string): boolean {
  return existsSync(incompleteMark(image));
}

/** @param file the VM.toml */
function checkWhole(image: string, file: string): void {
  if (!isIncomplete(image)) return;
  throw new UnderstudyError(
    'image-incomplete',
    `disk image ${image} is half of one moment and half of another: a backup was joining a ` +
      'running VM and did not come to the end. Let it join again (`understudy backup`), or copy ' +
      `the newest image there (\`understudy image info ${file}\` names who has it) and remove ` +
      incompleteMark(image),
  );
}

function qcowMagic(image: string): string | null {
  // A raw disk cannot begin with these bytes and boot; a forgotten qcow2 does.
  const head = readHead(image, 4);
  if (head.equals(Buffer.from('QFI\xfb', 'latin1'))) return 'qcow2';
  if (head.equals(Buffer.from('KDMV', 'latin1'))) return 'vmdk';
  return null;
}

function readHead(image: string, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  const fd = openSync(image, 'r');
  try {
    readSync(fd, buffer, 0, bytes, 0);
  } finally {
    closeSync(fd);
  }
  return buffer;
}

function readOnly(image: string, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'image-read-only',
    `disk image ${image} cannot be written (${messageOf(cause)}): ` +
      'each side needs a writable copy of its own',
    { cause },
  );
}

/** Refuses one image under two [[disk]], also by another name, link or mount. */
function checkDistinct(config: VmConfig): void {
  const seen = new Map<string, string>();
  for (const { image } of config.disks) {
    const stats = checkImage(image);
    const identity = `${stats.dev}:${stats.ino}`;
    const other = seen.get(identity);
    if (other !== undefined) {
      throw new UnderstudyError(
        'image-shared',
        `${config.file}: two [[disk]] use the same image: ${other} and ${image} are one file`,
      );
    }
    seen.set(identity, image);
  }
}

function claimImage(image: string): FileLock {
  const stats = checkImage(image);
  const lock = tryLock(image);
  if (lock === null) throw inUse(image, holdersOf(image));
  // QEMU locks its images in another way (fcntl), which flock does not see.
  if (isLockedByFcntl(stats)) {
    lock.release();
    throw inUse(image, holdersOf(image));
  }
  return lock;
}

function inUse(image: string, holders: readonly Holder[]): UnderstudyError {
  return new UnderstudyError(
    'image-in-use',
    `disk image ${image} is in use by ${describeHolders(holders)}: each VM, and each side of ` +
      'a pair, needs a copy of its own (`cp --sparse=always`), or stop the other one first',
    { details: { image, holders } },
  );
}

/** Whether /proc/locks has a POSIX or open-file-description lock on the file. */
function isLockedByFcntl(stats: Stats): boolean {
  let table: string;
  try {
    table = readFileSync('/proc/locks', 'utf8');
  } catch {
    return false; // QEMU's own attempt to lock decides
  }
  const major = ((stats.dev >> 8) & 0xfff).toString(16).padStart(2, '0');
  const minor = ((stats.dev & 0xff) | ((stats.dev >> 12) & 0xfff00)).toString(16).padStart(2, '0');
  const identity = ` ${major}:${minor}:${stats.ino} `;
  return table
    .split('\n')
    .some((line) => line.includes(identity) && /\b(POSIX|OFDLCK)\b/.test(line));
}

/**
 * Copies a file, holes as holes, sharing blocks where the file system can.
 * @param signal ends the copy; then it throws log-write
 * @param reflink always: or not at all
 * @throws UnderstudyError disk-full | log-write
 */
export async function copySparse(
  from: string,
  to: string,
  signal?: AbortSignal,
  reflink: 'auto' | 'always' = 'auto',
): Promise<void> {
  const child = spawn('cp', [`--reflink=${reflink}`, '--sparse=always', '--', from, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const kill = (): void => void child.kill();
  signal?.addEventListener('abort', kill);
  if (signal?.aborted) kill();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  signal?.removeEventListener('abort', kill);
  if (code === 0) return;
  const cause = Object.assign(new Error(stderr.trim() || `cp ended with ${code}`), {
    code: /No space left|quota exceeded/i.test(stderr) ? 'ENOSPC' : 'EIO',
  });
  throw writeError(`the copy ${to} of ${from}`, cause);
}

/** Hashes an image off the main thread; holes cost next to nothing. */
export async function hashImage(image: string): Promise<DiskHash> {
  const { hashFile } = await import('../../native/kvm-exit-log/index.ts');
  const { xxh64, bytes } = await hashFile(image);
  return { hash: hex64(xxh64), bytes };
}

/** Hashes of all the VM's images, in order. */
export async function hashDisks(images: readonly string[]): Promise<DiskHash[]> {
  const hashes: DiskHash[] = [];
  for (const image of images) hashes.push(await hashImage(image));
  return hashes;
}
