// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts that a VM must not be able to tell apart, in one: everything about them that
 * can differ here does. The first is this host as it is. The second has another host name,
 * user, home, time zone, environment (of another size), file system, layout of processes in
 * memory, heap that is not zeros, monotonic clock and CPU features of glibc; its paths are
 * longer and have spaces and commas in them; and where it stands lie files with the names
 * of firmware.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheRoot } from '../../src/base/paths.ts';
import { FIRMWARE_FILES } from '../../src/vm/firmware.ts';
import type { RunOptions } from './command.ts';

export interface Host {
  /** Where its recording is. */
  readonly recording: string;
  readonly options: RunOptions;
}

/** The second host's folder, below a file system of its own. */
const FAR = 'a folder, with a name that is much longer than the one of the first host';

const ENTER = [
  'mount -t tmpfs tmpfs "$1"',
  'hostname an-altogether-different-host',
  'mkdir -p "$(dirname "$3")" "$1/tmp"',
  'cp -a --sparse=always "$2" "$3"',
  'cd "$4"',
  'shift 4',
  'exec "$@"',
].join(' && ');

function works(words: readonly string[]): boolean {
  const [file = '', ...rest] = words;
  return spawnSync(file, [...rest, 'true']).status === 0;
}

/** Words of `unshare` for a clock that began at another time, where the kernel has them. */
function otherClock(): string[] {
  const words = ['--time', '--monotonic=7777777', '--boottime=7777777'];
  return works(['unshare', '--fork', ...words]) ? words : [];
}

/**
 * @param dir of a VM's own
 * @param recording what the first host makes; the second gets a copy when it is entered
 */
export function twoHosts(dir: string, recording: string): { first: Host; second: Host } {
  const mount = join(dir, 'mount');
  const stands = join(dir, 'stands here');
  mkdirSync(mount, { recursive: true });
  mkdirSync(stands, { recursive: true });
  // 0xcc: INT3, which no guest survives.
  for (const name of FIRMWARE_FILES) writeFileSync(join(stands, name), Buffer.alloc(65536, 0xcc));
  const copy = join(mount, FAR, FAR, 'recording');
  const user = ['--map-user=4321', '--map-group=4321'];
  return {
    first: { recording, options: { cwd: dir } },
    second: {
      recording: copy,
      options: {
        prefix: [
          ...['unshare', '--mount', '--uts', ...otherClock(), '--fork', '--kill-child'],
          ...['sh', '-c', ENTER, 'sh', mount, recording, copy, stands],
          ...['setarch', '-R', 'unshare', '--user', ...user],
        ],
        env: {
          XDG_CACHE_HOME: dirname(cacheRoot()),
          HOME: '/nonexistent',
          USER: 'somebody',
          LOGNAME: 'somebody',
          TMPDIR: join(mount, 'tmp'),
          TZ: 'Pacific/Chatham',
          LANG: 'tr_TR.UTF-8',
          FILLER: 'x'.repeat(64 * 1024),
          MALLOC_PERTURB_: '165',
          MALLOC_ARENA_MAX: '1',
          GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-ERMS,-BMI2',
        },
      },
    },
  };
}
