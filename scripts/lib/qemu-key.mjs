// SPDX-License-Identifier: Apache-2.0
// What the patched QEMU is made from, as content hashes.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { osRelease } from './apt.mjs';
import { ContentHash, listFiles, readJson } from './cache.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const native = join(root, 'native/kvm-exit-log');
const patchesDir = join(native, 'qemu/patches');
const devicesFile = join(root, 'scripts/qemu-devices.mak');
/** Without it COLO hangs under TCG. */
const coloPatch = join(root, 'bench/peers/0001-colo-save-live-state-under-the-BQL.patch');

/** The one place that says which QEMU, and how it is configured. */
export const qemuPin = readJson(join(root, 'scripts/qemu-version.json'));

/** The patches to apply, in the order of their series file. */
export function qemuPatches() {
  const series = join(patchesDir, 'series');
  if (!existsSync(series)) return [];
  return readFileSync(series, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((name) => join(patchesDir, name));
}

/** The list of devices that are compiled in, as qemuOverlay() has it. */
export function qemuDevices() {
  return [{ from: devicesFile, to: 'configs/devices/x86_64-softmmu/understudy.mak' }];
}

/** Whole files that are laid over the source: [{ from, to }], `to` relative to it. */
export function qemuOverlay() {
  const files = qemuDevices();
  const folders = [
    { dir: join(native, 'qemu/exitlog'), to: 'exitlog' },
    { dir: join(native, 'qemu/include'), to: 'include/exitlog' },
    { dir: join(native, 'include'), to: 'include/exitlog' },
  ];
  for (const { dir, to } of folders) {
    for (const name of listFiles(dir)) files.push({ from: join(dir, name), to: `${to}/${name}` });
  }
  return files;
}

/** Hash of what needs a new build tree: source version, configuration, host release. */
export function qemuTreeKey() {
  const { id, version } = osRelease();
  return new ContentHash()
    .add('pin', JSON.stringify(qemuPin))
    .add('host', `${id} ${version}`)
    .digest();
}

/** What COLO takes besides; not in the pin, which is of all builds. */
export const coloConfigure = ['--enable-replication', '--enable-colo-proxy'];

export function coloPatches() {
  return [coloPatch];
}

export function coloTreeKey() {
  return new ContentHash()
    .add('tree', qemuTreeKey())
    .add('configure', coloConfigure.join(' '))
    .digest();
}

/** Hash of everything that is built: two equal keys mean the same QEMU. */
export function qemuKey() {
  const hash = new ContentHash().add('tree', qemuTreeKey());
  for (const patch of qemuPatches()) hash.add('patch', readFileSync(patch));
  for (const { from, to } of qemuOverlay()) hash.addFile(from, to);
  return hash.digest();
}

/** Hash of what the unpatched QEMU is built from. */
export function plainQemuKey() {
  const hash = new ContentHash().add('tree', qemuTreeKey());
  for (const { from, to } of qemuDevices()) hash.addFile(from, to);
  return hash.digest();
}

/** Hash of what the QEMU with COLO is built from. */
export function coloQemuKey() {
  const hash = new ContentHash().add('tree', coloTreeKey());
  for (const patch of coloPatches()) hash.add('patch', readFileSync(patch));
  for (const { from, to } of qemuDevices()) hash.addFile(from, to);
  return hash.digest();
}
