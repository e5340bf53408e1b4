// SPDX-License-Identifier: Apache-2.0
/** Compiles test/native/fake-qemu.c, runs it at the other end of a ring; and abi-facts.c. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExitRing } from '../../native/kvm-exit-log/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Programs of test/native/ by name, each compiled when it is asked for first. */
const built = new Map<string, string>();

function compiled(name: string): string {
  const known = built.get(name);
  if (known !== undefined) return known;
  const dir = mkdtempSync(join(tmpdir(), `understudy-${name}-`));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  const program = join(dir, name);
  const include = join(root, 'native/kvm-exit-log/include');
  const source = join(root, 'test/native', `${name}.c`);
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-I', include];
  execFileSync('cc', [...flags, '-o', program, source], { stdio: 'inherit' });
  built.set(name, program);
  return program;
}

/** Offsets and ordinals of exitlog_abi.h, as the C compiler sees them. */
export function abiFacts(): Record<string, number> {
  return JSON.parse(execFileSync(compiled('abi-facts'), { encoding: 'utf8' }));
}

export interface FakeQemu {
  readonly child: ChildProcess;
  /** Resolves with its standard output; rejects if it fails. */
  readonly done: Promise<string>;
}

export function startFakeQemu(ring: ExitRing, ...args: (string | number | bigint)[]): FakeQemu {
  const child = spawn(compiled('fake-qemu'), args.map(String), {
    stdio: ['ignore', 'pipe', 'inherit', ring.shmFd, ring.notifyFd, ring.wakeFd],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const done = once(child, 'close').then(([code, signal]) => {
    if (code !== 0) throw new Error(`fake-qemu ${args.join(' ')} ended with ${code ?? signal}`);
    return output;
  });
  return { child, done };
}
