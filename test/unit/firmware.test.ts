// SPDX-License-Identifier: Apache-2.0
/** The firmware's hashes, and what doctor says two hosts must have in common. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mayDiffer, mustBeSame } from '../../src/cli/host-facts.ts';
import {
  copyFirmware,
  firmwareDifference,
  firmwareHash,
  hashFirmware,
} from '../../src/vm/firmware.ts';
import { scratch } from '../lib/command.ts';

const firmware = suite('firmware');
const dir = scratch('firmware');
const bios = join(dir, 'bios-256k.bin');
writeFileSync(bios, 'a BIOS');
writeFileSync(join(dir, 'edk2.fd'), 'no guest can have it');

firmware('only what a guest can execute counts', () => {
  assert.equal(Object.keys(hashFirmware(dir)), ['bios-256k.bin']);
});

firmware('a file that differs, or is missing on one side, is named', () => {
  const before = hashFirmware(dir);
  assert.is(firmwareDifference(before, hashFirmware(dir)), null);
  assert.is(firmwareDifference(before, { ...before, 'pvh.bin': 'aa' }), 'pvh.bin');
  assert.is(firmwareDifference({}, before), 'bios-256k.bin');
  assert.is(firmwareHash({}, 'bios-256k.bin'), 'none');
});

firmware('a copy has the same hashes', () => {
  const copy = join(dir, 'copy');
  copyFirmware(dir, copy);
  assert.equal(hashFirmware(copy), hashFirmware(dir));
  rmSync(copy, { recursive: true });
});

firmware("doctor's word for it changes with any file", () => {
  const before = mustBeSame('build', dir).firmware_id;
  writeFileSync(bios, 'a newer BIOS');
  assert.is.not(mustBeSame('build', dir).firmware_id, before);
  assert.is(mustBeSame(null, null).firmware_id, null);
  for (const value of Object.values(mayDiffer())) assert.ok(value, 'each is known');
});

firmware.run();
