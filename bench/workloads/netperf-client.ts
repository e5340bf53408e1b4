// SPDX-License-Identifier: Apache-2.0
/** Debian's netperf, from the guest's own initrd: host and guest have the same. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extractProgram } from '../initrd.ts';
import type { Guest } from '../systems/system.ts';
import { referenceGuest } from '../systems/vm.ts';
import { beside } from './workload.ts';

let client: string | null = null;
/** Beyond the test itself; netperf retries a connection that takes its time. */
const MARGIN_MS = 60_000;

function netperfProgram(): string {
  if (client !== null) return client;
  const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  client = join(dir, 'netperf');
  extractProgram(referenceGuest().initrd, 'netperf', client);
  return client;
}

/** @returns what was asked for, by netperf's own names of its outputs */
export async function netperf(
  vm: Guest,
  test: string,
  asked: readonly string[],
  seconds: number,
): Promise<number[]> {
  const words = ['-H', vm.guestAddress, '-t', test, '-l', String(seconds), '-P', '0'];
  words.push('--', '-o', asked.join(','));
  const said = await beside(vm, [netperfProgram(), ...words], seconds * 1000 + MARGIN_MS);
  // The last line: a timer of netperf's that pops once more is told before it ("catcher:").
  const figures = (said.trim().split('\n').at(-1) ?? '').split(',').map(Number);
  if (figures.length !== asked.length || !figures.every(Number.isFinite)) {
    throw new Error(`netperf ${test}: ${said}`);
  }
  return figures;
}
