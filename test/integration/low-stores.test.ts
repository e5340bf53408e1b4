// SPDX-License-Identifier: Apache-2.0
/**
 * All that a program stores is noted, also where its pages have the addresses that page tables
 * have in physical memory: the page walker's entries of the soft TLB are others than the program's.
 *
 *   npm test integration/low-stores
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Cpio } from '../../scripts/lib/cpio.mjs';
import { scratch, root as tree } from '../lib/command.ts';
import { OFTEN, runEpochs } from '../lib/epoch-run.ts';
import { MS } from '../lib/epoch-vm.ts';

const low = suite('low stores');
const root = scratch('low-stores');

/** Hashing all of memory takes longer than an epoch of the others. */
const NUMBERS = { ...OFTEN, everyNs: 100n * MS };

function initrdOf(source: string): string {
  mkdirSync(root, { recursive: true });
  const program = join(root, 'program');
  const flags = ['-static-pie', '-fPIE', '-O1', '-Wall', '-Werror', '-Wl,--build-id=none'];
  execFileSync('cc', [...flags, '-o', program, source]);
  const cpio = new Cpio();
  cpio.character('dev/console', 5, 1);
  cpio.file('program', readFileSync(program), 0o755);
  const path = join(root, 'initrd.gz');
  writeFileSync(path, gzipSync(cpio.bytes()));
  return path;
}

low('memory is what its notes say at each cut, and so is the image', async () => {
  const initrd = initrdOf(join(tree, 'test/lib/low-stores.c'));
  process.env.EXITLOG_DIGEST_CHECK = '1'; // qemu/exitlog/verify/digest.c
  const words = 'rdinit=/program mitigations=off';
  const run = await runEpochs(join(root, 'run'), words, { initrd, numbers: NUMBERS });
  assert.ok(run.taken.length > 20, `${run.taken.length} epochs`);
  for (const { ordinal, number, ramDigest } of run.taken) {
    assert.is(ramDigest, run.cuts.get(ordinal)?.digest?.ram, `epoch ${number}`);
  }
});

low.run();
