// SPDX-License-Identifier: Apache-2.0
/**
 * A lock on a file that ends with this process, however it ends: exclusive, or
 * shared with others that ask for it shared.
 *
 * Node has no flock(2). The lock belongs to the open file description, so that
 * util-linux' flock(1), run for a moment on an inherited descriptor, leaves it
 * with us: it is released when our descriptor closes, at the latest by the
 * kernel when we die. No stale lock file is possible.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { messageOf, UnderstudyError } from './errors.ts';

export interface FileLock {
  readonly path: string;
  /** Whether the path still names the file that is locked: it may have been replaced. */
  isCurrent(): boolean;
  /** Idempotent. */
  release(): void;
}

export interface Holder {
  readonly pid: number;
  readonly command: string;
}

/**
 * Takes the lock, or returns null when somebody else has it.
 * @throws UnderstudyError file-io when the file cannot be opened
 */
export function tryLock(
  path: string,
  flags: 'r' | 'r+' | 'a' = 'r+',
  mode: 'exclusive' | 'shared' = 'exclusive',
): FileLock | null {
  let fd: number;
  try {
    fd = openSync(path, flags, 0o600);
  } catch (cause) {
    throw new UnderstudyError('file-io', `cannot open ${path}: ${messageOf(cause)}`, { cause });
  }
  const run = spawnSync('flock', [`--${mode}`, '--nonblock', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
  });
  if (run.error !== undefined || (run.status !== 0 && run.status !== 1)) {
    closeSync(fd);
    const why = run.error?.message ?? run.stderr.toString().trim();
    throw new UnderstudyError('host-unsupported', `cannot lock ${path} with flock(1): ${why}`);
  }
  if (run.status === 1) {
    closeSync(fd);
    return null;
  }
  let open = true;
  return {
    path,
    isCurrent() {
      const named = statSync(path, { bigint: true, throwIfNoEntry: false });
      const locked = fstatSync(fd, { bigint: true });
      return named !== undefined && named.ino === locked.ino && named.dev === locked.dev;
    },
    release() {
      if (!open) return;
      open = false;
      closeSync(fd);
    },
  };
}

/** Other processes (that we may look at) which have this very file open. */
export function holdersOf(path: string): Holder[] {
  const wanted = statSync(path, { bigint: true });
  return processesWith((fd) => {
    const found = statSync(fd, { bigint: true });
    return found.ino === wanted.ino && found.dev === wanted.dev;
  });
}

/** Other processes of which an open descriptor (`/proc/PID/fd/N`) satisfies `test`. */
export function processesWith(test: (fdPath: string) => boolean): Holder[] {
  const holders: Holder[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    let descriptors: string[];
    try {
      descriptors = readdirSync(`/proc/${entry}/fd`);
    } catch {
      continue; // it ended, or belongs to somebody else
    }
    const match = descriptors.some((fd) => {
      try {
        return test(`/proc/${entry}/fd/${fd}`);
      } catch {
        return false; // closed by now
      }
    });
    if (match) holders.push({ pid: Number(entry), command: commandOf(Number(entry)) });
  }
  return holders;
}

/** "qemu-system-x86 (process 123)", or "another process" when it cannot be seen. */
export function describeHolders(holders: readonly Holder[]): string {
  if (holders.length === 0) return 'another process';
  return holders.map((holder) => `${holder.command} (process ${holder.pid})`).join(', ');
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'a process';
  }
}
