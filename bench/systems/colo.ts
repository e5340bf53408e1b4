// SPDX-License-Identifier: Apache-2.0
/**
 * QEMU's COLO: two VMs that run at once, compared by their packets, with a checkpoint when
 * they differ. Whether a build has it is asked of the binary.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { plainQemu } from '../plain-qemu.ts';
import { NOTHING, type System } from './system.ts';
import { unbuilt } from './unpatched.ts';

/** What a COLO pair cannot do without: its comparer of packets, and its rewriter. */
const OBJECTS = ['colo-compare', 'filter-rewriter'];

export function colo(binary?: string): System {
  return {
    name: 'colo',
    title: 'QEMU COLO',
    baseline: 'plain',
    verified: false,
    replays: null,
    async absent() {
      const missing = await unbuilt(binary);
      if (missing !== null) return missing;
      const program = binary ?? (await plainQemu());
      const { stdout } = await promisify(execFile)(program, ['-object', 'help']);
      const known = new Set(stdout.split('\n').map((line) => line.trim()));
      const without = OBJECTS.filter((name) => !known.has(name));
      if (without.length > 0) {
        return (
          `this build of QEMU has no ${without.join(' and no ')} ` +
          '(`-object help`; it takes --enable-colo-proxy and --enable-replication)'
        );
      }
      return 'this build of QEMU has COLO, but the harness does not drive it yet';
    },
    start: () => Promise.reject(new Error('COLO is not driven')),
    harvest: async () => NOTHING,
  };
}
