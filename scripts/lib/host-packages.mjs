// SPDX-License-Identifier: Apache-2.0
// The Debian packages that a build on this host needs.

import { spawnSync } from 'node:child_process';

const MESON_MIN = '1.5';

/** What each package is for is in docs/requirements.md. */
export const HOST_PACKAGES = [
  'bison',
  'capnproto',
  'dpkg-dev',
  'e2fsprogs',
  'flex',
  'g++',
  'gdb',
  'iproute2',
  'libcapnp-dev',
  'libfdt-dev',
  'libglib2.0-dev',
  'libpixman-1-dev',
  'libseccomp-dev',
  'libslirp-dev',
  'libxxhash-dev',
  'libzstd-dev',
  'make',
  'meson',
  'ninja-build',
  'openssl',
  'patch',
  'pkg-config',
  'python3',
  'python3-venv',
];

/**
 * Packages of the list that are not installed (or too old), from dpkg's own database.
 * @returns {string[] | undefined} undefined: this host has no dpkg
 */
export function missingPackages() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own syntax
  const format = '${Package} ${db:Status-Status} ${Version}\\n';
  const query = spawnSync('dpkg-query', ['-W', '-f', format, ...HOST_PACKAGES], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (query.error) return undefined;
  return missingFrom(query.stdout, isAtLeast);
}

/** @param {string} listing lines `NAME STATUS VERSION` */
export function missingFrom(listing, atLeast) {
  const versions = new Map();
  for (const line of listing.split('\n')) {
    const [name, status, version] = line.split(' ');
    if (status === 'installed') versions.set(name.replace(/:.*/, ''), version);
  }
  return HOST_PACKAGES.filter((name) => {
    const version = versions.get(name);
    return version === undefined || (name === 'meson' && !atLeast(version, MESON_MIN));
  });
}

function isAtLeast(version, minimum) {
  return spawnSync('dpkg', ['--compare-versions', version, 'ge', minimum]).status === 0;
}
