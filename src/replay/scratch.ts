// SPDX-License-Identifier: Apache-2.0
/**
 * The folder of a replay's own copies, among the temporary files ($TMPDIR). It goes with
 * its replay; what one that was killed has left, the next one removes.
 */
import { lstatSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { type FileLock, tryLock } from '../base/file-lock.ts';
import { copySparse } from '../vm/disk.ts';

export type ScratchKind = 'replay' | 'debug' | 'bisect';

const NAME = /^understudy-(replay|debug|bisect)-\w{6}$/;
/** In it, locked while its process lives. */
const OWNER = 'owner';
const FULL = /No space left on device|Disk quota exceeded|\b(ENOSPC|EDQUOT)\b/i;

/** For what the killed have left: once is enough. */
let hasLooked = false;

export class Scratch {
  readonly dir: string;
  readonly #lock: FileLock;

  private constructor(dir: string, lock: FileLock) {
    this.dir = dir;
    this.#lock = lock;
  }

  /** @throws UnderstudyError disk-full | file-io */
  static make(kind: ScratchKind): Scratch {
    const parent = tmpdir();
    if (!hasLooked) removeStale(parent);
    hasLooked = true;
    for (;;) {
      const dir = makeFolder(parent, kind);
      try {
        const lock = tryLock(join(dir, OWNER), 'a');
        if (lock?.isCurrent()) return new Scratch(dir, lock);
        // Who looks for what the killed have left was here before the lock, and removes it.
        lock?.release();
      } catch (cause) {
        rmSync(dir, { recursive: true, force: true });
        throw isFull(cause) ? new ScratchFull(parent, cause) : cause;
      }
    }
  }

  /**
   * Copies of the images, in order; blocks are shared where the file system can.
   * @throws UnderstudyError disk-full | log-write
   */
  async copies(images: readonly string[], aborted?: AbortSignal): Promise<string[]> {
    const copies = images.map((_, index) => join(this.dir, `${index}.raw`));
    const reflink = this.#hasRoom(images) ? 'auto' : 'always';
    for (const [index, image] of images.entries()) {
      aborted?.throwIfAborted();
      try {
        await copySparse(image, copies[index] ?? '', aborted, reflink);
      } catch (cause) {
        aborted?.throwIfAborted();
        if (reflink === 'always') throw this.#tooSmall(images, cause);
        throw this.explain(cause);
      }
    }
    return copies;
  }

  /** What went wrong, if it was for want of room here; else the error as it is. */
  explain(error: unknown): unknown {
    if (error instanceof ScratchFull) return error;
    return isFull(error) ? new ScratchFull(tmpdir(), error, diskOf(error)) : error;
  }

  /** Idempotent. */
  end(): void {
    rmSync(this.dir, { recursive: true, force: true });
    this.#lock.release();
  }

  #hasRoom(images: readonly string[]): boolean {
    return bytesOf(images) <= bytesFree(this.dir);
  }

  #tooSmall(images: readonly string[], cause: unknown): ScratchFull {
    const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    return new ScratchFull(
      tmpdir(),
      cause,
      `the copies of ${images.length} disk(s) take ${mib(bytesOf(images))}, and only ` +
        `${mib(bytesFree(this.dir))} are free`,
    );
  }
}

function makeFolder(parent: string, kind: ScratchKind): string {
  try {
    return mkdtempSync(join(parent, `understudy-${kind}-`));
  } catch (cause) {
    if (isFull(cause)) throw new ScratchFull(parent, cause);
    const why = messageOf(cause);
    throw new UnderstudyError('file-io', `no folder can be made in ${parent}: ${why}`, { cause });
  }
}

/** On the disk: a hole takes none. */
function bytesOf(images: readonly string[]): number {
  return images.map((image) => statSync(image).blocks * 512).reduce((sum, next) => sum + next, 0);
}

function bytesFree(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

/** Says all there is to say. */
class ScratchFull extends UnderstudyError {
  constructor(dir: string, cause: unknown, why: string | undefined = 'no space left') {
    super(
      'disk-full',
      `${dir}: ${why}. A replay works on copies of the disks there: free some space, or name ` +
        'another folder in the environment (TMPDIR=/another/folder)',
      { cause },
    );
  }
}

/** Whether Node, cp, the addon or a QEMU says that its copy had no room. */
function isFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof UnderstudyError) {
    if (error.code === 'disk-full') return true;
    const said = error.details.qemu_error;
    if (typeof said === 'string' && FULL.test(said)) return true;
  }
  return 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

/** "disk0: No space left on device, a write of 4096 bytes", as QEMU said it. */
function diskOf(error: unknown): string | undefined {
  if (!(error instanceof UnderstudyError)) return undefined;
  const { qemu_error: said, stderr } = error.details;
  const [, disk, what] = /(disk\d+) full: ([^"\n]*)/.exec(`${said}\n${stderr}`) ?? [];
  return disk === undefined ? undefined : `${disk}: ${what}`;
}

function removeStale(parent: string): void {
  let names: string[];
  try {
    names = readdirSync(parent).filter((name) => NAME.test(name));
  } catch {
    return; // what is wrong with it is said when a folder is made there
  }
  for (const name of names) {
    const dir = join(parent, name);
    try {
      const stats = lstatSync(dir);
      if (!stats.isDirectory() || stats.uid !== process.getuid?.()) continue;
      const lock = tryLock(join(dir, OWNER), 'r+');
      if (lock === null) continue;
      rmSync(dir, { recursive: true, force: true });
      lock.release();
    } catch {
      // It is being made, or goes at this moment, or is another's.
    }
  }
}
