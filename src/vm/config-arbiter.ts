// SPDX-License-Identifier: Apache-2.0
/** What VM.toml says of who may go on alone: the arbiter, how it is reached, and helpers. */
import { statSync } from 'node:fs';
import { type ArbiterAccess, NO_ACCESS } from '../arbiter/arbiter.ts';
import { arbiterProblem, resolveArbiterUrl } from '../arbiter/registry.ts';
import { UnderstudyError } from '../base/errors.ts';
import type { FileConfig } from './config-schema.ts';

export interface ArbiterConfig {
  /** URL (arbiter/registry.ts), its paths absolute; null: none. */
  readonly arbiter: string | null;
  /** How that is reached, beyond this machine. */
  readonly arbiterAccess: ArbiterAccess;
  /** A program and its arguments that makes sure the other host is off; null: none. */
  readonly fenceCommand: readonly string[] | null;
  /** The same, run once a VM has gone on here without the other side. */
  readonly onFailover: readonly string[] | null;
  readonly helperTimeoutS: number;
}

type FileReplication = NonNullable<FileConfig['replication']>;

export function arbiterConfig(
  raw: FileReplication,
  absolute: (path: string) => string,
): ArbiterConfig {
  return {
    arbiter: raw.arbiter === undefined ? null : resolveArbiterUrl(raw.arbiter, absolute),
    arbiterAccess: raw.etcd === undefined ? NO_ACCESS : accessOf(raw.etcd, absolute),
    fenceCommand: raw.fence_command ?? null,
    onFailover: raw.on_failover ?? null,
    helperTimeoutS: raw.helper_timeout_s,
  };
}

/** Why the arbiter cannot be what it is said to be, or null. */
export function wrongArbiter({ arbiter, arbiterAccess }: ArbiterConfig): string | null {
  const why = arbiter === null ? null : arbiterProblem(arbiter, arbiterAccess);
  return why === null ? null : `replication.arbiter: ${why}`;
}

/**
 * What of its access is secret is its user's alone.
 * @throws UnderstudyError keys-unusable
 */
export function checkArbiterFiles({ key, passwordFile }: ArbiterAccess): void {
  for (const [name, path] of [
    ['key', key],
    ['password_file', passwordFile],
  ] as const) {
    const stats = path === null ? undefined : statSync(path, { throwIfNoEntry: false });
    if (stats === undefined || (stats.mode & 0o007) === 0) continue;
    throw new UnderstudyError(
      'keys-unusable',
      `replication.etcd: ${name} ${path}: others may use it: \`chmod 600 ${path}\`, or better ` +
        'make another one',
    );
  }
}

function accessOf(
  raw: NonNullable<FileReplication['etcd']>,
  absolute: (path: string) => string,
): ArbiterAccess {
  const path = (given: string | undefined) => (given === undefined ? null : absolute(given));
  return {
    ca: path(raw.ca),
    cert: path(raw.cert),
    key: path(raw.key),
    user: raw.user ?? null,
    passwordFile: path(raw.password_file),
    prefix: raw.prefix,
    insecurePlaintext: raw.insecure_plaintext,
  };
}
