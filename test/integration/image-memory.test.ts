// SPDX-License-Identifier: Apache-2.0
/**
 * Main memory of an image is its daemon's while a QEMU starts and waits beside it: what that would
 * boot with (a kernel, above all) is not loaded there, however late it starts.
 *
 *   npm test integration/image-memory
 */
import { mkdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { Epochs } from '../../native/kvm-exit-log/testing.ts';
import { DEFAULT_ACCEL } from '../../src/vm/accel/registry.ts';
import { scratch } from '../lib/command.ts';
import { EpochVm, MEMORY_BYTES, makeDisk } from '../lib/epoch-vm.ts';

const memory = suite('image memory');
const root = scratch('image-memory');

const NONE: EpochNumbers = { everyNs: 0n, packetNs: 0n, inFlight: 0, digests: false };
const SOME = Buffer.alloc(1 << 20, 0xab);

function fill(fd: number): void {
  for (let at = 0; at < MEMORY_BYTES; at += SOME.length) writeSync(fd, SOME, 0, SOME.length, at);
}

/** MiB of which something has changed. */
function changed(fd: number): number[] {
  const all: number[] = [];
  const now = Buffer.alloc(SOME.length);
  for (let at = 0; at < MEMORY_BYTES; at += now.length) {
    assert.is(readSync(fd, now, 0, now.length, at), now.length);
    if (!now.equals(SOME)) all.push(at / now.length);
  }
  return all;
}

for (const accel of [DEFAULT_ACCEL, 'tcg-multi'] as const) {
  memory(`who starts and waits beside an image changes nothing of it, ${accel}`, async () => {
    const dir = join(root, accel);
    const there = join(dir, 'there');
    mkdirSync(there, { recursive: true });
    makeDisk(dir);
    const disk = makeDisk(there);
    const common = { words: 'us.run=shell', numbers: NONE, accel };
    const live = await EpochVm.start({ dir, ...common });
    const image = new Epochs(live.ring, { memoryBytes: MEMORY_BYTES, disks: [disk] });
    fill(image.memoryFd);
    const standBy = await EpochVm.start({ dir: there, ...common, image });
    try {
      while (standBy.ring.status().state !== 'waiting') {
        assert.is(standBy.exit, null);
        await sleep(1);
      }
      assert.equal(changed(image.memoryFd), []);
    } finally {
      image.close();
      await standBy.end();
      await live.end();
    }
  });
}

memory.run();
