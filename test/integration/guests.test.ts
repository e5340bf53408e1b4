// SPDX-License-Identifier: Apache-2.0
/**
 * Exact replay of guests that are not the default: several vCPUs, q35, e1000,
 * IDE, AHCI, a VGA card, GRUB. A small choice; `npm run campaign:exact` goes through all of them.
 *
 *   SEED=N npm test integration/guests
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import {
  recordAndReplay,
  referenceGuest,
  type Shape,
  shapeName,
  WORKLOADS,
} from '../lib/workloads.ts';

/** Kicks at random moments, and every digest's table against memory itself. */
const STORM = { EXITLOG_KICKS: '200', EXITLOG_DIGEST_CHECK: '1' };

const CHOICE: ReadonlyArray<readonly [string, Shape, Readonly<Record<string, string>>?]> = [
  ['rep', { vcpus: 1, machine: 'pc', devices: 'virtio' }, STORM],
  ['reboot-once', { vcpus: 2, machine: 'pc', devices: 'virtio' }],
  ['suspend', { vcpus: 2, machine: 'pc', devices: 'virtio' }],
  ['iozone-fsync', { vcpus: 4, machine: 'q35', devices: 'legacy' }],
  ['netperf', { vcpus: 2, machine: 'q35', devices: 'legacy' }],
  ['vga', { vcpus: 1, machine: 'pc', devices: 'virtio' }, STORM],
  ['vga', { vcpus: 2, machine: 'q35', devices: 'virtio' }, STORM],
  ['grub-vga', { vcpus: 1, machine: 'pc', devices: 'virtio' }, STORM],
  ['grub', { vcpus: 1, machine: 'q35', devices: 'legacy' }],
];

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const dir = scratch('guests');
const guest = await referenceGuest();
const exact = suite('exact replay of other guests');

for (const [name, shape, env = {}] of CHOICE) {
  const workload = WORKLOADS.find((item) => item.name === name);
  exact(`${name} ${shapeName(shape)}`, async () => {
    if (workload === undefined) throw new Error(`no workload ${name}`);
    const place = join(dir, `${name}-${shapeName(shape)}`);
    const result = await recordAndReplay(workload, {
      dir: place,
      guest,
      seed,
      shape,
      netperfS: 1,
      env,
    });
    rmSync(place, { recursive: true, force: true });
    if (result.skipped !== undefined) console.log(`skipped ${name}: ${result.skipped}`);
    const again = `again with SEED=${seed} npm test integration/guests`;
    assert.ok(result.ok, `${name} ${result.shape}: ${result.failure}\n${again}`);
  });
}

exact.run();
