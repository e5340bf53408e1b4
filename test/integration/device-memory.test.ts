// SPDX-License-Identifier: Apache-2.0
/** Disk transfers to and from a device's memory: here a screen's, which is no RAM. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson, scratch } from '../lib/command.ts';
import { assemble, FailingDisk } from '../lib/disk-sector.ts';

const DISK_BYTES = 4 << 20;
/** Where both channels read. */
const BMDMA_BYTE = 0x80 * 512;
const TIMEOUT_MS = 60_000;
const transfers = suite('disk transfers to and from the memory of a device');

/** A VM of test/lib/mmio-sector.s. @returns the path of its VM.toml */
function screenVm(dir: string, on: string, disks: number, bmdma: 0 | 1): string {
  mkdirSync(dir, { recursive: true });
  const disk = Buffer.alloc(DISK_BYTES);
  for (let at = 0; at < DISK_BYTES; at += 1) disk[at] = (at * 2654435761) >>> 24;
  readFileSync(assemble('mmio-sector.s', dir, { BMDMA: bmdma })).copy(disk);
  let text = 'name = "screen"\nmemory = "32M"\nrng = false\nvga = true\n';
  if (on === 'ahci') text += 'machine = "q35"\n';
  for (let n = 0; n < disks; n += 1) {
    const image = join(dir, `disk${n}.raw`);
    if (n === 0) writeFileSync(image, disk);
    else copyFileSync(join(dir, 'disk0.raw'), image);
    text += `[[disk]]\nimage = "disk${n}.raw"\ninterface = "${on}"\n`;
  }
  writeFileSync(join(dir, 'VM.toml'), text);
  return join(dir, 'VM.toml');
}

/** What it says: two characters for each sum. */
async function recordAndReplay(
  dir: string,
  vm: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const out = join(dir, 'recording');
  const { code, stdout, stderr } = await run(['record', vm, '--out', out], {
    timeoutMs: TIMEOUT_MS,
    env,
  });
  assert.is(code, 0, `${stdout}\n${stderr}`);
  const replay = await runJson(['replay', out, '--verify'], { timeoutMs: TIMEOUT_MS });
  assert.is(replay.code, 0, replay.stderr);
  assert.ok(replay.json.verified === true && replay.json.disks_identical === true);
  rmSync(dir, { recursive: true });
  return /([0-O]+)\n/.exec(stdout)?.[1] ?? stdout;
}

for (const on of ['virtio-blk', 'virtio-scsi', 'ide', 'ahci']) {
  transfers(`${on}: into the screen, and from there to the disk`, async () => {
    const dir = scratch(`screen-${on}`);
    const said = await recordAndReplay(dir, screenVm(dir, on, 1, 0));
    assert.is(said.length, 6, said);
    assert.is(said.slice(0, 2), said.slice(4), 'the disk has what the screen had');
  });
}

transfers('two IDE channels at once: one waits for the other', async () => {
  const dir = scratch('screen-two');
  const vm = screenVm(dir, 'ide', 3, 1);
  const disk = new FailingDisk(dir, '.raw');
  disk.set({ what: 'late', errno: 0, from: BMDMA_BYTE, end: BMDMA_BYTE + 8192 });
  const said = await recordAndReplay(dir, vm, disk.env);
  assert.is(said.length, 8, said);
});

transfers.run();
