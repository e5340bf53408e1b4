// SPDX-License-Identifier: Apache-2.0
/**
 * The folder of one daemon: its lock, status socket, log, console and daemon log.
 *
 * The lock is the kernel's (file-lock.ts): it ends with the process that holds
 * it, so that one of a dead daemon is simply free. The pid in the file is for
 * messages only.
 */
import { lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import { type FileLock, tryLock } from '../base/file-lock.ts';
import { ensureDir, stateDir } from '../base/paths.ts';

/** sun_path has 108 with the end (unix(7)); libuv cuts longer ones off without a word. */
const SOCKET_PATH_BYTES_MAX = 107;

export type DaemonRole = 'primary' | 'backup' | 'replica';

export interface StateDir {
  readonly path: string;
  readonly socket: string;
  readonly console: string;
  readonly daemonLog: string;
  /** The exit log of one power-on. */
  logDir(vmId: string): string;
  /** Frees the lock; removes the socket and the lock's text. Idempotent. */
  release(): void;
}

export function socketPath(name: string, role: DaemonRole): string {
  return join(stateDir(name, role), 'status.sock');
}

/**
 * @throws UnderstudyError vm-already-running, naming the process that has it; state-dir when its
 * path is too long for the socket, or others may write in it
 */
export function takeStateDir(name: string, role: DaemonRole): StateDir {
  const socket = socketPath(name, role);
  const bytes = Buffer.byteLength(socket);
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw new UnderstudyError(
      'state-dir',
      `the status socket ${socket} has a path of ${bytes} bytes, and ${SOCKET_PATH_BYTES_MAX} is ` +
        'the most; set UNDERSTUDY_STATE_DIR to a shorter path',
    );
  }
  const path = ensureDir(stateDir(name, role));
  checkOurs(path);
  const lockPath = join(path, 'lock');
  const lock: FileLock | null = tryLock(lockPath, 'a');
  if (lock === null) {
    const pid = readPid(lockPath);
    throw new UnderstudyError(
      'vm-already-running',
      `the ${role} of VM "${name}" already runs${pid === null ? '' : ` as process ${pid}`} ` +
        `(state in ${path}): stop it with \`understudy stop ${name}\``,
      { details: { pid } },
    );
  }
  writeFileSync(lockPath, `${process.pid}\n`);
  rmSync(socket, { force: true }); // of a daemon that was killed
  let released = false;
  return {
    path,
    socket,
    console: join(path, 'console.log'),
    daemonLog: join(path, 'daemon.log'),
    logDir: (vmId) => join(path, 'log', vmId),
    release() {
      if (released) return;
      released = true;
      rmSync(socket, { force: true });
      // Emptied and not removed: another daemon may be waiting on this very file.
      writeFileSync(lockPath, '');
      lock.release();
    },
  };
}

/**
 * A folder that was there already: who may write in it could plant a link where the daemon
 * writes its log or console.
 */
function checkOurs(path: string): void {
  const { uid, mode } = lstatSync(path);
  const we = process.geteuid?.() ?? uid;
  const permissions = mode & 0o777;
  if (uid === we && (permissions & 0o022) === 0) return;
  const found =
    uid === we
      ? `others may write in it (mode 0${permissions.toString(8)}); chmod 700 it`
      : `it is user ${uid}'s, and we are user ${we}; chown it`;
  throw new UnderstudyError(
    'state-dir',
    `the state folder ${path} is not private: ${found}, or set UNDERSTUDY_STATE_DIR to another`,
  );
}

function readPid(path: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return Number.isInteger(pid) ? pid : null;
  } catch {
    return null;
  }
}
