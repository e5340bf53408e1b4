// SPDX-License-Identifier: Apache-2.0
/** Compiles test/native/fake-qemu.c and runs it at the other end of a ring. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExitRing } from '../../native/kvm-exit-log/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let built: string | null = null;

function binary(): string {
  if (built !== null) return built;
  const dir = mkdtempSync(join(tmpdir(), 'understudy-fake-qemu-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  built = join(dir, 'fake-qemu');
  const include = join(root, 'native/kvm-exit-log/include');
  const source = join(root, 'test/native/fake-qemu.c');
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-I', include];
  execFileSync('cc', [...flags, '-o', built, source], { stdio: 'inherit' });
  return built;
}

/** Offsets and ordinals of exitlog_abi.h, as the C compiler sees them. */
export function abiFacts(): Record<string, number> {
  return JSON.parse(execFileSync(binary(), ['abi'], { encoding: 'utf8' }));
}

export interface FakeQemu {
  readonly child: ChildProcess;
  /** Resolves with its standard output; rejects if it fails. */
  readonly done: Promise<string>;
}

export function startFakeQemu(ring: ExitRing, ...args: (string | number | bigint)[]): FakeQemu {
  const child = spawn(binary(), args.map(String), {
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
