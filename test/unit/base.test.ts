// SPDX-License-Identifier: Apache-2.0
/** The error registry, formats, "did you mean", QEMU's last words, the watchdog. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ERROR_CODES, exitCodeOf, UnderstudyError, writeError } from '../../src/base/errors.ts';
import { formatBitRate, formatBytes, formatDuration, toJson } from '../../src/base/format.ts';
import { editDistance, nearest } from '../../src/base/nearest.ts';
import { atIcount, comparePositions, formatPosition } from '../../src/base/position.ts';
import { explainExit } from '../../src/vm/qemu-errors.ts';
import { Watchdog } from '../../src/vm/watchdog.ts';

const base = suite('base');

base('every code has one of the documented exit codes', () => {
  for (const [code, exit] of Object.entries(ERROR_CODES)) {
    assert.ok([1, 2, 3, 10, 11, 12, 13].includes(exit), code);
    assert.match(code, /^[a-z0-9]+(-[a-z0-9]+)*$/);
  }
  assert.is(exitCodeOf(new UnderstudyError('divergence', 'x')), 10);
  assert.is(exitCodeOf(Object.assign(new Error('x'), { code: 'log-corrupt' })), 11);
  assert.is(exitCodeOf(new Error('x')), 1);
  assert.is(exitCodeOf('text'), 1);
});

base('docs/errors.md has every code with its exit code, and no other', () => {
  const file = new URL('../../docs/errors.md', import.meta.url);
  const rows = [...readFileSync(file, 'utf8').matchAll(/^\| `([a-z-]+)` \| (\d+) \|/gm)];
  assert.equal(Object.fromEntries(rows.map(([, code, exit]) => [code, Number(exit)])), ERROR_CODES);
});

base('a full disk is told from another write error', () => {
  const full = writeError('the log', Object.assign(new Error('no'), { code: 'ENOSPC' }));
  assert.is(full.code, 'disk-full');
  assert.match(full.message, 'the log');
  assert.is(
    writeError('the log', Object.assign(new Error('no'), { code: 'EIO' })).code,
    'log-write',
  );
});

base('numbers for people', () => {
  assert.is(formatBytes(999), '999 B');
  assert.is(formatBytes(1536), '1.54 KB');
  assert.is(formatBytes(1_000_000n), '1 MB');
  assert.is(formatDuration(0.25), '250 µs');
  assert.is(formatDuration(950), '950 ms');
  assert.is(formatDuration(12_345), '12.3 s');
  assert.is(formatDuration(754_000), '12 min 34 s');
  assert.is(formatBitRate(1234, 2), '4.94 kbit/s');
  assert.is(toJson({ a: 1n, b: 2n ** 60n }), '{"a":1,"b":"1152921504606846976"}');
});

base('positions', () => {
  const at = (icount: bigint, vtimeNs: bigint) => ({ point: atIcount(icount), vtimeNs });
  assert.ok(comparePositions(at(1n, 9n), at(2n, 0n)) < 0);
  assert.ok(comparePositions(at(2n, 1n), at(2n, 0n)) > 0);
  assert.is(comparePositions(at(2n, 1n), at(2n, 1n)), 0);
  assert.is(formatPosition(at(1234567n, 2_500_000_000n)), 'icount 1,234,567 at 2.500000 s');
});

base('the nearest word', () => {
  assert.is(editDistance('kitten', 'sitting'), 3);
  assert.is(editDistance('imgae', 'image'), 1);
  assert.is(nearest('kernle', ['memory', 'kernel']), 'kernel');
  assert.is(nearest('x', []), null);
});

base.run();

const qemu = suite('QEMU that fails');

const SAID: ReadonlyArray<readonly [string, string, RegExp]> = [
  ['qemu: could not configure /dev/net/tun (tap7): Device or resource busy', 'tap-in-use', /tap7/],
  ['qemu: could not open /dev/net/tun: Operation not permitted', 'tap-permission', /CAP_NET_ADMIN/],
  ['qemu: -device virtio-blk-pci: Failed to get "write" lock', 'image-in-use', /another QEMU/],
  ["qemu: -drive file=x: Could not open '/x': No such file or directory", 'image-missing', /\/x/],
  ["qemu: could not load kernel '/k': No such file", 'boot-file', /\/k/],
  ["cannot set up guest memory 'pc.ram': Cannot allocate memory", 'host-memory', /memory/],
  ['qemu: -exitlog: invalid option', 'qemu-unpatched', /bootstrap/],
  ['something new', 'qemu-failed', /something new/],
];

for (const [stderr, code, names] of SAID) {
  qemu(`says: ${stderr}`, () => {
    const error = explainExit({ binary: 'q', code: 1, signal: null, shmError: '', stderr });
    assert.is(error.code, code);
    assert.match(error.message, names);
  });
}

qemu('or dies of a signal', () => {
  const exit = { binary: 'q', code: null, signal: 'SIGSEGV', shmError: '', stderr: '' } as const;
  const error = explainExit(exit);
  assert.is(error.code, 'qemu-died');
  assert.match(error.message, /SIGSEGV/);
});

qemu.run();

const watchdog = suite('watchdog');

interface Looks {
  heartbeat: number;
  visits: number;
  cpuMs: number;
}

/** Looks `count` times, the state changed by `step` before each; returns the hang or null. */
function watch(count: number, step: (state: Looks) => void): string | null {
  const state = { heartbeat: 1, visits: 1, cpuMs: 0 };
  let hang: string | null = null;
  const dog = new Watchdog({
    status: () => ({ ...state, error: '' }),
    cpuMs: () => state.cpuMs,
    timeoutMs: 5000,
    onHang: (why) => {
      hang = why;
    },
  });
  for (let i = 0; i < count && hang === null; i += 1) {
    step(state);
    dog.look();
  }
  return hang;
}

watchdog('lets a busy one be', () => {
  const busy = (s: Looks) => {
    s.heartbeat += 10;
    s.visits += 1000;
    s.cpuMs += 500;
  };
  assert.is(watch(100, busy), null);
});

watchdog('lets an idle one be', () => {
  const idle = (s: Looks) => {
    s.heartbeat += 10;
    s.cpuMs += 5;
  };
  assert.is(watch(100, idle), null);
});

watchdog('finds a stopped process', () => {
  assert.match(watch(100, () => {}) ?? '', /io thread/);
});

watchdog('finds a vCPU that spins without a visit', () => {
  const spin = (s: Looks) => {
    s.heartbeat += 10;
    s.cpuMs += 500;
  };
  assert.match(watch(100, spin) ?? '', /vCPU/);
});

watchdog('waits longer for the first heartbeat', () => {
  const none = (s: Looks) => {
    s.heartbeat = 0;
  };
  assert.is(watch(29, none), null);
  assert.match(watch(40, none) ?? '', /15 s/);
});

watchdog.run();
