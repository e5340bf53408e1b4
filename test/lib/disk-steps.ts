// SPDX-License-Identifier: Apache-2.0
/** Epochs of writes to two small disks, step by step, and what the disks are after each. */
import type { NativeJournal } from '../../native/kvm-exit-log/testing.ts';

const SECTOR = 512;
export const DISK_BYTES = 8 * SECTOR;

type Write = readonly [number, number, number, Buffer | null];

export interface Step {
  readonly kind: 'prepare' | 'begin' | 'write' | 'end';
  readonly epoch: number;
  /** Index of the write. */
  readonly index: number;
}

/** Overlapping, on both disks, some of them zeros, one of no whole word. */
function writesOf(epoch: number): Write[] {
  const filled = (bytes: number, more: number): Buffer => Buffer.alloc(bytes, 16 * epoch + more);
  const from = (epoch % 4) * SECTOR;
  return [
    [0, from, 2 * SECTOR, filled(2 * SECTOR, 1)],
    [1, from + SECTOR, SECTOR, filled(SECTOR, 2)],
    [0, from + SECTOR, SECTOR, null],
    [1, 13 * epoch, 5, filled(5, 3)],
  ];
}

export function stepsOf(epochs: number): Step[] {
  const steps: Step[] = [];
  for (let epoch = 1; epoch <= epochs; epoch++) {
    steps.push({ kind: 'prepare', epoch, index: 0 }, { kind: 'begin', epoch, index: 0 });
    for (let index = 0; index < writesOf(epoch).length; index++) {
      steps.push({ kind: 'write', epoch, index });
    }
    steps.push({ kind: 'end', epoch, index: 0 });
  }
  return steps;
}

export class DiskSteps {
  play(journal: NativeJournal, { kind, epoch, index }: Step): void {
    const writes = writesOf(epoch);
    const one = writes[index];
    if (kind === 'prepare') journal.prepare(epoch, writes);
    else if (kind === 'write' && one !== undefined) journal.write(one);
    else if (kind === 'begin') journal.begin(epoch);
    else journal.end(epoch);
  }

  /** Both disks after this epoch; 0: as they were. */
  model(epochs: number): Buffer[] {
    const disks = [Buffer.alloc(DISK_BYTES, 0xd1), Buffer.alloc(DISK_BYTES, 0xd1)];
    for (let epoch = 1; epoch <= epochs; epoch++) {
      for (const [disk, offset, bytes, data] of writesOf(epoch)) {
        (data ?? Buffer.alloc(bytes)).copy(disks[disk] ?? Buffer.alloc(0), offset);
      }
    }
    return disks;
  }
}
