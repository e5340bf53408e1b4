// SPDX-License-Identifier: Apache-2.0
/** Errors that the simulation has to find, planted into a copy of the checkout. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '#scripts/paths.mjs';

export interface Plant {
  readonly name: string;
  /** Below native/kvm-exit-log/addon. */
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
}

export const PLANTS: readonly Plant[] = [
  {
    name: 'a batch is released one early',
    file: 'ship/gate.cc',
    right: 'batch.sequence < coveredEnd_',
    wrong: 'batch.sequence <= coveredEnd_',
  },
  {
    name: 'a packet is released one record early',
    file: 'ship/gate.cc',
    right: 'storeRelease(shm_.header()->commit, recordEnd);',
    wrong: 'storeRelease(shm_.header()->commit, recordEnd + 1);',
  },
  {
    name: 'the backup acknowledges what it has not stored',
    file: 'receive/receive.cc',
    right: 'if (!log->needsRoll(writing_)) return Step::write;',
    wrong:
      'if (!log->needsRoll(writing_)) {\n' +
      '  stored_ = endOf(round_.back().view);\n' +
      '  sendAck(outlet);\n' +
      '  return Step::write;\n' +
      '}',
  },
  {
    name: 'a joined backup counts before it has everything',
    file: 'ship/gate.h',
    right: 'if (detached_) freeEnd_ = sequence;',
    wrong: 'if (detached_) freeEnd_ = sequence + 8;',
  },
];

const COPIED = ['src', 'native', 'schema', 'scripts', 'test', 'package.json', 'tsconfig.json'];

/** @returns the seed that found it, or null */
export function playPlanted(plant: Plant, words: readonly string[]): number | null {
  const copy = mkdtempSync(join(tmpdir(), 'understudy-planted-'));
  try {
    for (const name of COPIED) {
      cpSync(join(projectRoot, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(projectRoot, 'node_modules'), join(copy, 'node_modules'));
    const file = join(copy, 'native/kvm-exit-log/addon', plant.file);
    const source = readFileSync(file, 'utf8');
    if (!source.includes(plant.right)) throw new Error(`${plant.file} has no ${plant.right}`);
    writeFileSync(file, source.replace(plant.right, plant.wrong));
    const gyp = join(projectRoot, 'node_modules/node-gyp/bin/node-gyp.js');
    const addon = join(copy, 'native/kvm-exit-log');
    execFileSync(process.execPath, [gyp, 'build'], { cwd: addon, stdio: 'ignore' });
    const tool = ['--import', 'tsx', join(copy, 'test/campaign/simulation.ts'), '--first-fault'];
    const { stdout } = spawnSync(process.execPath, [...tool, ...words], {
      cwd: copy,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    const { faults } = JSON.parse(stdout) as { faults: { seed: number }[] };
    return faults[0]?.seed ?? null;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
