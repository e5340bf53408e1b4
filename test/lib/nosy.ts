// SPDX-License-Identifier: Apache-2.0
/** Builds test/lib/nosy.c, the kernel that looks for traces of the host. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './command.ts';

const SECTIONS = [
  '-Ttext=0x101000',
  '--section-start=.multiboot=0x100000',
  '--section-start=.note.pvh=0x100000',
  '--section-start=.far=0x140000',
];

export function buildNosy(out: string, boots: 'multiboot' | 'pvh', twice = false): void {
  const link = [...SECTIONS, '--build-id=none', '-z,max-page-size=64', '-z,noexecstack'];
  execFileSync('gcc', [
    ...(boots === 'pvh' ? ['-DPVH'] : []),
    ...(twice ? ['-DTWICE'] : []),
    ...['-m32', '-O2', '-Wall', '-Wextra', '-Werror', '-ffreestanding', '-nostdlib', '-static'],
    ...['-fno-pic', '-no-pie', '-fno-stack-protector', '-fno-asynchronous-unwind-tables'],
    ...['-mgeneral-regs-only', `-Wl,${link.join(',')}`],
    ...['-o', out, join(root, 'test/lib/nosy.c')],
  ]);
}
