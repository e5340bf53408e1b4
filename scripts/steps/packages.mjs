// SPDX-License-Identifier: Apache-2.0
// Debian build dependencies: only what dpkg says is missing gets installed.

import { hostMirrors, osRelease, PrivateApt, sourceLines } from '../lib/apt.mjs';
import { missingPackages } from '../lib/host-packages.mjs';
import { StepError } from '../lib/run.mjs';

/** The apt state from which host packages come. */
export function hostApt() {
  const { codename } = osRelease();
  const backports = codename === 'bookworm';
  const lines = sourceLines(hostMirrors(codename), { codename, components: 'main', backports });
  return new PrivateApt('host', lines, { forHost: true });
}

export async function packagesStep(progress) {
  const missing = missingPackages() ?? [];
  if (missing.length === 0) return;
  const { codename } = osRelease();
  const onLine = (line) => progress.tick(line);
  const apt = hostApt();
  progress.note(`installing ${missing.join(' ')}`);
  await apt.update({ onLine });
  // bookworm's own meson (1.0) is too old for QEMU 10.
  const suffix = (name) =>
    name === 'meson' && codename === 'bookworm' ? '/bookworm-backports' : '';
  const names = missing.map((name) => name + suffix(name));
  try {
    await apt.install(names, onLine);
  } catch {
    await apt.update({ force: true, onLine });
    await apt.install(names, onLine);
  }
  const still = missingPackages();
  if (still.length > 0) throw new StepError(`not installed by apt-get: ${still.join(' ')}`);
}
