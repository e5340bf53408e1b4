// SPDX-License-Identifier: Apache-2.0
/**
 * What a QEMU is given and what it is denied, so that a guest that takes it over has reached
 * little: a user of its own, no environment, filters of system calls and paths
 * (qemu/exitlog/confine). docs/security.md says what of it holds where.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { UnderstudyError } from '../base/errors.ts';

export interface QemuUser {
  readonly uid: number;
  readonly gid: number;
}

export interface Confinement {
  /** Whom it becomes when it has opened what it needs; null: it stays who started it. */
  readonly user: QemuUser | null;
}

/** The user of all QEMUs that root starts; docs/security.md. */
const VARIABLE = 'UNDERSTUDY_QEMU_USER';
/** Made by whoever sets the host up; a host without it has the other. */
const DEFAULT_USERS = ['understudy-qemu', 'nobody'] as const;

/**
 * What holds for a QEMU that this process starts.
 * @throws UnderstudyError host-unsupported when its user is none, or may not be changed to
 */
export function confinement(): Confinement {
  const wanted = process.env[VARIABLE] || null;
  if (isRoot()) return { user: wanted === null ? defaultUser() : named(wanted) };
  const isMe = wanted === null || find(wanted)?.uid === process.geteuid?.();
  if (isMe) return { user: null };
  throw new UnderstudyError(
    'host-unsupported',
    `only root can start QEMU as user "${wanted}" (${VARIABLE}): leave it out, and it runs as ` +
      'the user who starts it',
  );
}

/** Root of a user namespace with one user is that user: it cannot become another. */
function isRoot(): boolean {
  if (process.geteuid?.() !== 0) return false;
  const [, , count = '1'] = readFileSync('/proc/self/uid_map', 'latin1').trim().split(/\s+/);
  return Number(count) > 1;
}

function named(name: string): QemuUser {
  const user = find(name);
  if (user !== null && user.uid !== 0 && user.gid !== 0) return user;
  throw new UnderstudyError(
    'host-unsupported',
    user === null
      ? `this host has no user "${name}" for QEMU (${VARIABLE}): make one with \`useradd ` +
          '--system --no-create-home --shell /usr/sbin/nologin NAME`'
      : `QEMU does not run as root: "${name}" (${VARIABLE}) must be a user without rights`,
  );
}

function defaultUser(): QemuUser {
  for (const name of DEFAULT_USERS) {
    const user = find(name);
    if (user !== null) return user;
  }
  return named(DEFAULT_USERS[0]);
}

/** getent and not /etc/passwd: users may be in a directory service. */
function find(name: string): QemuUser | null {
  const run = spawnSync('getent', ['passwd', name], { encoding: 'utf8' });
  const [, , uid, gid] = (run.stdout ?? '').trim().split(':');
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

/** Words for -exitlog, and QEMU's own filter, which is from its first moment on. */
export function confineOption({ user }: Confinement): string {
  return `confine=${user === null ? 'on' : `${user.uid}:${user.gid}`}`;
}

export function sandboxArgs({ user }: Confinement): string[] {
  // A process that is still to become another user cannot deny itself that: confine/ does, then.
  const privileges = user === null ? 'deny' : 'allow';
  return [
    '-sandbox',
    `on,obsolete=deny,elevateprivileges=${privileges},spawn=deny,resourcecontrol=deny`,
  ];
}

/** Its own hooks for tests and measurements (docs/divergence.md). */
const HOOK = /^EXITLOG_/;

/** Nothing, but hooks, and variables whose names are in UNDERSTUDY_QEMU_ENV. */
export function qemuEnvironment(all: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const named = new Set((all.UNDERSTUDY_QEMU_ENV ?? '').split(' '));
  return Object.fromEntries(
    Object.entries(all).filter(([name]) => HOOK.test(name) || named.has(name)),
  );
}
