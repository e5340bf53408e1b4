// SPDX-License-Identifier: Apache-2.0
/** The `openssl` program: it makes keys and signs; nothing of that is ours. */
import { spawnSync } from 'node:child_process';
import { errorCodeOf, UnderstudyError } from '../base/errors.ts';

/**
 * @param dir where it runs, and relative paths begin
 * @returns what it printed
 * @throws UnderstudyError host-unsupported without it; failure in its own words
 */
export function openssl(dir: string, args: readonly string[]): string {
  const { PATH, HOME } = process.env;
  const { status, stdout, stderr, error } = spawnSync('openssl', args, {
    cwd: dir,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    // Nothing of the host's configuration: what is made is the same everywhere.
    env: { PATH, HOME, OPENSSL_CONF: '/dev/null' },
  });
  if (errorCodeOf(error) === 'ENOENT') {
    throw new UnderstudyError(
      'host-unsupported',
      'there is no `openssl` program on this host: install the Debian package openssl',
    );
  }
  if (error !== undefined) throw error;
  if (status === 0) return stdout;
  const words = stderr.trim().split('\n').slice(-3).join('; ');
  throw new UnderstudyError('failure', `openssl ${args[0]} failed: ${words}`);
}
