// SPDX-License-Identifier: Apache-2.0
/** What QEMU says when it cannot start, in words that name the remedy. */
import { type ErrorCode, UnderstudyError } from '../base/errors.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  readonly message: (match: RegExpExecArray) => string;
}

/** First match wins. Texts are those of QEMU 10.0 and of the exit log. */
const RULES: readonly Rule[] = [
  {
    pattern: /tun\S*\s*\(?"?([\w.-]*)"?\)?.*(Device or resource busy)/i,
    code: 'tap-in-use',
    message: ([, name]) =>
      `tap interface "${name}" is in use by another process: each VM needs a tap of its own`,
  },
  {
    pattern: /(?:\/dev\/net\/tun|tap\S*).*(Operation not permitted|Permission denied)/i,
    code: 'tap-permission',
    message: ([line]) =>
      `QEMU may not open the tap (${line}): make it with \`ip tuntap add … user $USER\`, or ` +
      'run with CAP_NET_ADMIN',
  },
  {
    pattern: /Failed to get "?(?:write|consistent read|shared "write")"? lock/i,
    code: 'image-in-use',
    message: () =>
      'a disk image is in use by another QEMU: each VM, and each side of a pair, needs a copy ' +
      'of its own',
  },
  {
    pattern: /Could not open '([^']*)': (.*)/,
    code: 'image-missing',
    message: ([, path, why]) => `QEMU cannot open ${path}: ${why}`,
  },
  {
    pattern: /could not load (kernel|initrd|linux)[^\n]*/i,
    code: 'boot-file',
    message: ([line]) => `QEMU cannot load what VM.toml names as its kernel or initrd: ${line}`,
  },
  {
    pattern: /exitlog: (disk\d+) full: ([^\n]*)/,
    code: 'disk-full',
    message: ([, disk, what]) =>
      `${disk}: ${what}. Make room there; a replay's disks are in TMPDIR, which can be another folder`,
  },
  {
    pattern: /(?:cannot set up guest memory|Cannot allocate memory)[^\n]*/i,
    code: 'host-memory',
    message: ([line]) => `this host has too little memory for the VM: ${line}`,
  },
  {
    pattern: /Address already in use/i,
    code: 'port-in-use',
    message: () => 'a port that the VM needs is in use on this host',
  },
  {
    pattern: /-exitlog: invalid option|exitlog: invalid option/i,
    code: 'qemu-unpatched',
    message: () =>
      'this QEMU has no exit log: it is not the patched one (UNDERSTUDY_QEMU may name another; ' +
      '`npm run bootstrap` builds ours)',
  },
  {
    pattern: /(?:could not load PC BIOS|failed to find romfile|ROM file)[^\n]*/i,
    code: 'qemu-missing',
    message: ([line]) => `QEMU does not find its firmware (${line}): run \`npm run bootstrap\``,
  },
];

export interface FailedExit {
  readonly binary: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly shmError: string;
  readonly stderr: string;
}

/** The readable error for a QEMU that ended though nobody wanted it to. */
export function explainExit(exit: FailedExit): UnderstudyError {
  const details = {
    exit_code: exit.code,
    signal: exit.signal,
    qemu_error: exit.shmError,
    stderr: exit.stderr.slice(-2000),
  };
  for (const { pattern, code, message } of RULES) {
    const match = pattern.exec(exit.stderr) ?? pattern.exec(exit.shmError);
    if (match !== null) return new UnderstudyError(code, message(match), { details });
  }
  const said = lastWords(exit);
  if (exit.signal !== null) {
    return new UnderstudyError('qemu-died', `QEMU died of ${exit.signal}${said}`, { details });
  }
  return new UnderstudyError('qemu-failed', `QEMU failed with exit code ${exit.code}${said}`, {
    details,
  });
}

function lastWords(exit: FailedExit): string {
  const lines = exit.stderr.split('\n').filter((line) => line.trim() !== '');
  if (exit.shmError !== '') return `: ${reasonOf(exit.shmError)}`;
  return lines.length === 0 ? '' : `: ${lines.slice(-3).join(' / ')}`;
}

/** shm.error is JSON with a reason (qemu/exitlog/exitlog.c). */
function reasonOf(shmError: string): string {
  try {
    const { reason } = JSON.parse(shmError) as { reason?: unknown };
    return typeof reason === 'string' ? reason : shmError;
  } catch {
    return shmError;
  }
}
