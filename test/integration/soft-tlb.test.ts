// SPDX-License-Identifier: Apache-2.0
/** Which addresses a guest has drawn must not decide how fast it runs. */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root, run, scratch, start } from '../lib/command.ts';

const PHASES = 5;
const ROUNDS = 400_000;

const dir = scratch('soft-tlb');
const tlb = suite('soft TLB');

function clashingVm(): string {
  const object = join(dir, 'sector.o');
  const image = join(dir, 'disk.raw');
  const symbols = ['--defsym', `PHASES=${PHASES}`, '--defsym', `ROUNDS=${ROUNDS}`];
  const source = join(root, 'test/lib/clashing-pages.s');
  execFileSync('as', ['--32', ...symbols, '-o', object, source]);
  const flat = ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary'];
  execFileSync('ld', [...flat, '-o', image, object]);
  truncateSync(image, 1 << 20);
  const file = join(dir, 'VM.toml');
  const lines = ['name = "clash"', 'memory = "32M"', 'rng = false', '[[disk]]'];
  writeFileSync(file, `${lines.join('\n')}\nimage = "disk.raw"\n`);
  return file;
}

tlb('pages that used to share an entry are as fast as neighbours', async () => {
  const recording = join(dir, 'recording');
  const vm = start(['record', clashingVm(), '--out', recording], { timeoutMs: 120_000 });
  const spent = { n: 0, f: 0 };
  let phase: 'n' | 'f' | null = null;
  let sinceMs = 0;
  vm.child.stdout?.on('data', (data: Buffer | string) => {
    for (const letter of data.toString()) {
      if (letter !== 'n' && letter !== 'f') continue;
      const nowMs = performance.now();
      if (phase !== null) spent[phase] += nowMs - sinceMs;
      [phase, sinceMs] = [letter, nowMs];
    }
  });
  const { code, stderr } = await vm.done;
  assert.is(code, 0, stderr);
  assert.ok(spent.n > 0 && spent.f > 0, JSON.stringify(spent));
  // Each access missed in 256 entries: dozens of times as slow.
  assert.ok(spent.f < 3 * spent.n, `${spent.f} ms, beside each other ${spent.n} ms`);
  assert.is((await run(['replay', recording, '--verify'])).code, 0);
});

tlb.run();
