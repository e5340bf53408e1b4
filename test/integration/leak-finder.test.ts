// SPDX-License-Identifier: Apache-2.0
/**
 * No host state reaches a guest: recorded on one host, replayed on another that differs in
 * all that two sides may differ in (test/lib/unlike-hosts.ts; docs/hosts.md), for each kind
 * of boot. A failure names the page or the device, and the bytes.
 */
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeBootDisk } from '../lib/boot-disk.ts';
import { run, scratch, start } from '../lib/command.ts';
import { findLeak } from '../lib/leak.ts';
import { buildNosy } from '../lib/nosy.ts';
import { referenceGuest } from '../lib/workloads.ts';

const dir = scratch('leak');
const guest = await referenceGuest();
const leaks = suite('host state in a guest');

function vm(name: string, lines: readonly string[]): string {
  const place = join(dir, name);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'VM.toml'), ['name = "leak"', ...lines, ''].join('\n'));
  return place;
}

const disk = (on: string): string[] => ['[[disk]]', 'image = "disk.raw"', `interface = "${on}"`];
const nic = (model: string): string[] => ['[[nic]]', `model = "${model}"`, 'user = true'];

async function none(place: string, digestEvery: string): Promise<void> {
  const leak = await findLeak({ dir: place, digestEvery });
  rmSync(place, { recursive: true, force: true });
  assert.is(leak, null, leak ?? '');
}

function linux(name: string, kernel: string, lines: readonly string[]): string {
  const place = vm(name, [
    `kernel = ${JSON.stringify(kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(`${guest.append} us.run=poweroff`)}`,
    ...lines,
  ]);
  makeBootDisk(join(place, 'disk.raw'));
  return place;
}

function nosy(name: string, boots: 'multiboot' | 'pvh', lines: readonly string[]): string {
  const place = vm(name, ['memory = "64M"', 'kernel = "nosy.elf"', 'append = "a b"', ...lines]);
  buildNosy(join(place, 'nosy.elf'), boots);
  makeBootDisk(join(place, 'disk.raw'));
  copyFileSync(join(place, 'nosy.elf'), join(place, 'initrd, with a comma'));
  return place;
}

function sector(name: string, lines: readonly string[]): string {
  const place = vm(name, ['memory = "64M"', ...lines]);
  makeBootDisk(join(place, 'disk.raw'));
  return place;
}

const INITRD = 'initrd = "initrd, with a comma"';

leaks('none in a multiboot kernel with a module, on pc with IDE, e1000 and VGA', () =>
  none(
    nosy('multiboot-pc', 'multiboot', [INITRD, 'vga = true', ...disk('ide'), ...nic('e1000')]),
    '1M',
  ),
);

leaks('none in a multiboot kernel on q35 with virtio', () =>
  none(
    nosy('multiboot-q35', 'multiboot', [
      'machine = "q35"',
      ...disk('virtio-blk'),
      ...nic('virtio-net-pci'),
    ]),
    '5M',
  ),
);

leaks('none in a short PVH kernel, on q35 with AHCI, e1000 and VGA', () =>
  none(
    nosy('pvh-q35', 'pvh', [
      'machine = "q35"',
      'vga = true',
      INITRD,
      ...disk('ahci'),
      ...nic('e1000'),
    ]),
    '1M',
  ),
);

leaks('none in a PVH kernel on pc with virtio-scsi', () =>
  none(nosy('pvh-pc', 'pvh', [...disk('virtio-scsi'), ...nic('virtio-net-pci')]), '5M'),
);

leaks('none in Linux as an ELF file, with virtio', () =>
  none(linux('linux-elf', guest.kernel, [...disk('virtio-blk'), ...nic('virtio-net-pci')]), '50M'),
);

leaks('none in Linux as a bzImage, on q35 with AHCI, e1000 and VGA', () =>
  none(
    linux('linux-bzimage', guest.vmlinuz, [
      'machine = "q35"',
      'vga = true',
      ...disk('ahci'),
      ...nic('e1000'),
    ]),
    '50M',
  ),
);

for (const [on, lines] of [
  ['ide', []],
  ['ahci', ['machine = "q35"']],
  ['virtio-blk', ['vga = true']],
  ['virtio-scsi', ['machine = "q35"', 'vga = true']],
] as const) {
  leaks(`none in a boot sector that SeaBIOS loads from ${on}`, () =>
    none(sector(`sector-${on}`, [...lines, ...disk(on)]), '10M'),
  );
}

leaks(
  'a kernel and an initrd that are overwritten while the VM runs are not seen by it',
  async () => {
    const place = nosy('overwritten', 'pvh', [INITRD]);
    buildNosy(join(place, 'nosy.elf'), 'pvh', true);
    const out = join(place, 'recording');
    const recorder = start(['record', 'VM.toml', '--out', out], { cwd: place });
    await recorder.printed('again?');
    for (const name of ['nosy.elf', 'initrd, with a comma']) {
      const file = openSync(join(place, name), 'r+');
      writeSync(file, Buffer.alloc(2048, 0xcc), 0, 2048, 512);
      closeSync(file);
    }
    recorder.child.stdin?.write('x');
    const { code, stdout, stderr } = await recorder.done;
    assert.is(code, 0, stderr);
    const [before, after] = stdout.split('again?').map((text) => /initrd.*/.exec(text)?.[0]);
    assert.ok(before !== undefined && before === after, `before ${before}, after ${after}`);
    const replayed = await run(['replay', out, '--verify']);
    rmSync(place, { recursive: true, force: true });
    assert.is(replayed.code, 0, replayed.stderr);
  },
);

leaks('a planted one is found, and its byte is named', async () => {
  const place = nosy('planted', 'pvh', []);
  // Bit 3 of a byte that nobody uses.
  const leak = await findLeak({
    dir: place,
    digestEvery: '20M',
    fault: 'flip:50000000:0x3000123:3',
  });
  assert.ok(leak !== null, 'nothing was found');
  assert.match(leak, /pc\.ram \+ 0x3000000, guest-physical 0x3000000: 1 bytes differ/);
  assert.match(leak, /0x3000120/);
});

leaks.run();
