// SPDX-License-Identifier: Apache-2.0
/** A VM whose only program is wild-store.c, and a recording of it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Cpio } from '../../scripts/lib/cpio.mjs';
import { root, run } from './command.ts';
import { referenceGuest } from './workloads.ts';

export interface WildStore {
  /** The program, with symbols. */
  readonly program: string;
  readonly recording: string;
}

/** Records it into `dir`. */
export async function recordWildStore(
  dir: string,
  options: { readonly checkpointEvery?: string } = {},
): Promise<WildStore> {
  mkdirSync(dir, { recursive: true });
  const program = join(dir, 'wild-store');
  const flags = ['-static', '-no-pie', '-fno-pie', '-g', '-O1', '-Wall', '-Wl,--build-id=none'];
  execFileSync('cc', [...flags, '-o', program, join(root, 'test/lib/wild-store.c')]);
  const cpio = new Cpio();
  cpio.character('dev/console', 5, 1);
  cpio.file('wild-store', readFileSync(program), 0o755);
  writeFileSync(join(dir, 'initrd.gz'), gzipSync(cpio.bytes()));
  const guest = await referenceGuest();
  const lines = [
    'name = "wild-store"',
    'memory = "128M"',
    `kernel = ${JSON.stringify(guest.kernel)}`,
    'initrd = "initrd.gz"',
    `append = ${JSON.stringify(`${guest.append} rdinit=/wild-store`)}`,
  ];
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
  const recording = join(dir, 'recording');
  const words = ['record', join(dir, 'VM.toml'), '--out', recording, '--digest-every', '20M'];
  if (options.checkpointEvery !== undefined) {
    words.push('--checkpoint-every', options.checkpointEvery);
  }
  const { code, stderr } = await run(words);
  if (code !== 0) throw new Error(`not recorded: ${stderr}`);
  return { program, recording };
}
