// SPDX-License-Identifier: Apache-2.0
// Where the built artefacts are.  Imported by src/vm and the commands (as
// `#scripts/paths.mjs`) and by the bootstrap that puts them there.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDir, readJson } from './lib/cache.mjs';
import { guestKey } from './lib/guest-key.mjs';
import { qemuKey } from './lib/qemu-key.mjs';

export { cacheDir };

/** Root of the checkout. */
export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** Taps of a demo that root made beforehand, for a user without rights. */
export const demoTaps = { primary: 'us-primary', backup: 'us-backup' };

/** The patched QEMU of this checkout, or undefined when it is not built. */
export function qemuPaths() {
  const override = process.env.UNDERSTUDY_QEMU;
  if (override) return { binary: override, id: fileId(override), version: 'override' };
  const id = qemuKey();
  const dir = join(cacheDir(), 'qemu', id);
  const manifest = readJson(join(dir, 'manifest.json'));
  if (manifest === undefined) return undefined;
  const { id: builtId, version } = manifest;
  return { binary: join(dir, 'qemu-system-x86_64'), id: builtId, version };
}

/** The reference guest and the firmware, or undefined when they are not built. */
export function guestPaths() {
  const dir = join(cacheDir(), 'guest', guestKey());
  const manifest = readJson(join(dir, 'manifest.json'));
  if (manifest === undefined) return undefined;
  return {
    dir,
    kernel: join(dir, 'vmlinux'),
    vmlinuz: join(dir, 'vmlinuz'),
    initrd: join(dir, 'initrd.gz'),
    diskTemplate: join(dir, 'disk.raw'),
    firmwareDir: join(dir, 'firmware'),
    append: manifest.append,
    packages: manifest.packages,
  };
}

/** The addon's .node file, or undefined when it is not built. */
export function addonPath() {
  const dir = join(projectRoot, 'native/kvm-exit-log/build/Release');
  if (!existsSync(dir)) return undefined;
  const name = readdirSync(dir).find((file) => file.endsWith('.node'));
  return name === undefined ? undefined : join(dir, name);
}

/** Identity of a QEMU that this project did not build: its size and time. */
function fileId(path) {
  const { size, mtimeMs } = statSync(path);
  return `file-${size}-${Math.trunc(mtimeMs)}`;
}
