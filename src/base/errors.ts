// SPDX-License-Identifier: Apache-2.0
/**
 * The one registry of operating errors: what a user, a peer or a host can cause.
 *
 * A `code` is stable: scripts may test it, so a code is never renamed or reused.
 * Programmer errors are not here, they are assertions (assert.ts).
 */

/** Exit codes of the command (docs/errors.md). `status` alone uses 3 and 4. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  degraded: 4,
  divergence: 10,
  badLog: 11,
  peer: 12,
  host: 13,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Stable code → exit code. Sorted by exit code, then by subject. */
const REGISTRY = {
  // 1: it was asked for correctly and failed here and now
  failure: EXIT.failure,
  'catalog-unusable': EXIT.failure,
  interrupted: EXIT.failure,
  'disk-full': EXIT.failure,
  'log-write': EXIT.failure,
  'file-io': EXIT.failure,
  'image-in-use': EXIT.failure,
  'output-exists': EXIT.failure,
  'port-in-use': EXIT.failure,
  'address-unusable': EXIT.failure,
  'checkpoint-failed': EXIT.failure,
  'no-history': EXIT.failure,
  'qemu-died': EXIT.failure,
  'qemu-failed': EXIT.failure,
  'qemu-hung': EXIT.failure,
  'recording-in-use': EXIT.failure,
  'state-dir': EXIT.failure,
  'tap-in-use': EXIT.failure,
  'vm-already-running': EXIT.failure,

  // 2: usage or configuration
  usage: EXIT.usage,
  'config-unreadable': EXIT.usage,
  'config-syntax': EXIT.usage,
  'config-unknown-key': EXIT.usage,
  'config-value': EXIT.usage,
  'not-exact': EXIT.usage,
  'boot-file': EXIT.usage,
  'image-missing': EXIT.usage,
  'image-not-a-file': EXIT.usage,
  'image-read-only': EXIT.usage,
  'image-size': EXIT.usage,
  'image-incomplete': EXIT.usage,
  'image-journal': EXIT.usage,
  'image-older': EXIT.usage,
  'image-shared': EXIT.usage,
  'keys-unusable': EXIT.usage,
  'pack-key': EXIT.usage,
  'tap-missing': EXIT.usage,

  // 3: nothing runs under that name
  'not-running': EXIT.notRunning,

  // 10: replay did something that the log does not allow
  divergence: EXIT.divergence,

  // 11: corrupt or foreign log
  'not-a-recording': EXIT.badLog,
  'log-corrupt': EXIT.badLog,
  'log-truncated': EXIT.badLog,
  'log-foreign': EXIT.badLog,
  'log-version': EXIT.badLog,
  'log-build': EXIT.badLog,
  'log-config': EXIT.badLog,
  'log-firmware': EXIT.badLog,
  'pack-corrupt': EXIT.badLog,
  'pack-signature': EXIT.badLog,
  'pack-version': EXIT.badLog,

  // 12: peer refused or lost
  'peer-refused': EXIT.peer,
  'peer-lost': EXIT.peer,
  'peer-protocol': EXIT.peer,
  'peer-timeout': EXIT.peer,
  'peer-untrusted': EXIT.peer,
  fenced: EXIT.peer,
  'arbiter-unreachable': EXIT.peer,

  // 13: this host cannot do it
  'host-unsupported': EXIT.host,
  'host-memory': EXIT.host,
  'qemu-missing': EXIT.host,
  'qemu-unpatched': EXIT.host,
  'addon-missing': EXIT.host,
  'tap-permission': EXIT.host,
} as const satisfies Record<string, ExitCode>;

export type ErrorCode = keyof typeof REGISTRY;

/** All stable codes with their exit codes, for documentation and tests. */
export const ERROR_CODES: Readonly<Record<ErrorCode, ExitCode>> = REGISTRY;

export interface ErrorDetails {
  readonly cause?: unknown;
  /** Values for machines: printed by `--json`, never needed to read the message. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * An error that a user can cause or meet. Its message names the thing that is
 * wrong and, where there is one, the remedy.
 */
export class UnderstudyError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorDetails = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'UnderstudyError';
    this.code = code;
    this.details = options.details ?? {};
  }

  get exitCode(): ExitCode {
    return REGISTRY[this.code];
  }
}

/** The exit code for anything thrown. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UnderstudyError) return error.exitCode;
  const code = errorCodeOf(error);
  return code !== null && code in REGISTRY ? REGISTRY[code as ErrorCode] : EXIT.failure;
}

/** The system's or another module's `code` of an error ('ENOSPC', 'log-corrupt'), or null. */
export function errorCodeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** One line of text for anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A failed write as an operating error. A full disk has a code of its own,
 * because it is the one that an operator can cure.
 * @param what what was being written, e.g. "the exit log /x/log"
 */
export function writeError(what: string, cause: unknown): UnderstudyError {
  const code = errorCodeOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new UnderstudyError(
      'disk-full',
      `no space left while writing ${what}: free some space and start again`,
      { cause },
    );
  }
  return new UnderstudyError('log-write', `cannot write ${what}: ${messageOf(cause)}`, { cause });
}
