// SPDX-License-Identifier: Apache-2.0
/**
 * QEMU's own record/replay, as its documentation has it (docs/system/replay.rst): the disk
 * behind `blkreplay`, the NIC behind `filter-replay`. The replay of a round runs what the
 * recording of that round left, on a disk as at power-on.
 */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { plainQemu } from '../peer-qemu.ts';
import type { RunningVm, System, VmSpec } from './system.ts';
import { NOTHING } from './system.ts';
import { startUnpatched, unbuilt } from './unpatched.ts';

const LOG = 'rr.bin';

export function rrRecord(binary?: string): System {
  return {
    name: 'rr-record',
    title: 'QEMU rr=record',
    baseline: 'plain',
    verified: false,
    replays: null,
    absent: () => unbuilt(binary),
    start: (dir, spec) => start(dir, spec, 'record', join(dir, LOG), binary),
    harvest: async (dir) => ({ ...NOTHING, facts: { log_bytes: statSync(join(dir, LOG)).size } }),
  };
}

export function rrReplay(binary?: string): System {
  return {
    name: 'rr-replay',
    title: 'QEMU rr=replay',
    baseline: 'plain',
    verified: false,
    replays: 'rr-record',
    absent: () => unbuilt(binary),
    start: (dir, spec) => {
      const log = join(dirname(dir), 'rr-record', LOG);
      if (!existsSync(log)) throw new Error('rr-record left no log in this round');
      return start(dir, spec, 'replay', log, binary);
    },
    harvest: async () => NOTHING,
  };
}

async function start(
  dir: string,
  spec: VmSpec,
  mode: 'record' | 'replay',
  log: string,
  binary?: string,
): Promise<RunningVm> {
  return startUnpatched(dir, spec, {
    binary: binary ?? (await plainQemu()),
    icount: `shift=1,rr=${mode},rrfile=${log.replaceAll(',', ',,')}`,
    adapt: behindReplay,
    extra: ['-object', 'filter-replay,id=replay0,netdev=net0'],
  });
}

/** The guest's disk0 is a blkreplay on the image. */
function behindReplay(args: readonly string[]): string[] {
  return args.flatMap((word) => {
    if (!word.startsWith('if=none,id=disk0,')) return [word];
    const image = word
      .replace('id=disk0,', 'id=image0,')
      .replace(',werror=report,rerror=report', '');
    return [image, '-drive', 'driver=blkreplay,if=none,id=disk0,image=image0'];
  });
}
