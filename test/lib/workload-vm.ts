// SPDX-License-Identifier: Apache-2.0
/** The VM.toml of a workload, and the disks that it names. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeBootDisk } from './boot-disk.ts';
import { makeGrubDisk } from './grub-disk.ts';
import type { Netns } from './netns.ts';
import { buildNosy } from './nosy.ts';
import type { Guest, Shape, Workload } from './workloads.ts';

function secondImage({ secondDiskRoom }: Workload): string {
  return secondDiskRoom === undefined ? 'second.raw' : 'small/second.raw';
}

/** What `record` is begun with: the second disk on a file system of its own, too small. */
export function littleRoom(workload: Workload, dir: string): string[] {
  const { secondDisk = 0, secondDiskRoom } = workload;
  if (secondDiskRoom === undefined) return [];
  const script =
    `mount -t tmpfs -o size=${secondDiskRoom}m none "$0/small" && ` +
    `truncate -s ${secondDisk}M "$0/${secondImage(workload)}" && exec "$@"`;
  return ['unshare', '-m', 'sh', '-c', script, dir];
}

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
  if (workload.nosy !== undefined) {
    buildNosy(join(dir, 'nosy.elf'), workload.nosy);
    lines.push('kernel = "nosy.elf"', `append = ${JSON.stringify(workload.us(netns))}`);
  } else if (workload.boots === undefined) {
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
    const image = secondImage(workload);
    mkdirSync(dirname(join(dir, image)), { recursive: true });
    writeFileSync(join(dir, image), '');
    truncateSync(join(dir, image), workload.secondDisk * 2 ** 20);
    lines.push('[[disk]]', `image = "${image}"`, `interface = "${on}"`);
  }
  if (netns !== null) lines.push('[[nic]]', `model = "${nic}"`, `tap = "${netns.tap}"`);
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
}
