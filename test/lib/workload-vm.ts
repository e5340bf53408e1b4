// SPDX-License-Identifier: Apache-2.0
/** The VM.toml of a workload, and the disks that it names. */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeBootDisk } from './boot-disk.ts';
import { makeGrubDisk } from './grub-disk.ts';
import type { Netns } from './netns.ts';
import type { Guest, Shape, Workload } from './workloads.ts';

/** Writes them into `dir`. */
export async function writeVm(
  workload: Workload,
  shape: Shape,
  dir: string,
  guest: Guest,
  netns: Netns | null,
): Promise<void> {
  const legacy = shape.machine === 'pc' ? 'ide' : 'ahci';
  const on = { virtio: 'virtio-blk', scsi: 'virtio-scsi', legacy }[shape.devices];
  const nic = shape.devices === 'legacy' ? 'e1000' : 'virtio-net-pci';
  const lines = [
    `name = "${workload.name}"`,
    `machine = "${shape.machine}"`,
    `vcpus = ${shape.vcpus}`,
    ...(workload.memory === undefined ? [] : [`memory = "${workload.memory}"`]),
  ];
  if (workload.vga === true) lines.push('vga = true');
  // The last console= is the guest's /dev/console.
  const screen = workload.vga === true ? 'console=tty0 ' : '';
  const append = `${screen}${guest.append} ${workload.us(netns)}`;
  if (workload.boots === undefined) {
    lines.push(
      `kernel = ${JSON.stringify(workload.vga === true ? guest.vmlinuz : guest.kernel)}`,
      `initrd = ${JSON.stringify(guest.initrd)}`,
      `append = ${JSON.stringify(append)}`,
    );
  }
  if (workload.disk === true) {
    const image = join(dir, 'disk.raw');
    if (workload.boots === 'sector') makeBootDisk(image);
    else if (workload.boots !== undefined) {
      await makeGrubDisk(image, { ...guest, append, graphical: workload.boots !== 'grub' });
    } else execFileSync('cp', ['--sparse=always', guest.disk_template, image]);
    lines.push('[[disk]]', 'image = "disk.raw"', `interface = "${on}"`);
  }
  if (workload.secondDisk !== undefined) {
    writeFileSync(join(dir, 'second.raw'), '');
    truncateSync(join(dir, 'second.raw'), workload.secondDisk * 2 ** 20);
    lines.push('[[disk]]', 'image = "second.raw"', `interface = "${on}"`);
  }
  if (netns !== null) lines.push('[[nic]]', `model = "${nic}"`, `tap = "${netns.tap}"`);
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
}
