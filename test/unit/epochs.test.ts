// SPDX-License-Identifier: Apache-2.0
/** The lockstep policy and the lag bound: pure, so tested pure. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { atIcount, comparePoints, icountOf, type Point } from '../../src/base/position.ts';
import { LagPolicy } from '../../src/epochs/lag.ts';
import { PROTOCOL_NAMES, protocolByName } from '../../src/epochs/registry.ts';
import { filesBelow } from '../lib/imports.ts';

const policies = suite('protocols');

const OPTIONS = {
  batchUsMax: 1000,
  lagMsMax: 100,
  epochInstructions: 5000,
  intervalMs: 25,
  intervalMsMax: null,
  epochPagesMax: null,
  outputWaitUsMax: 1000,
  disk: 'blocks',
} as const;

policies('batch_us_max is what inputs wait; an idle guest logs less than 30 kbit/s', () => {
  const { seal: numbers } = protocolByName('lockstep', { ...OPTIONS, batchUsMax: 700 });
  assert.is(numbers.batchUs, 700);
  assert.ok(numbers.horizonBusyUs < numbers.horizonIdleUs);
  const horizonOnlyBytes = 16 + 22 * 8;
  assert.ok((horizonOnlyBytes * 8 * 1e6) / numbers.horizonIdleUs < 30_000);
});

policies('an idle guest is told of within lag_ms_max, which is counted from its waking', () => {
  for (const lagMsMax of [10, 50, 100, 1000]) {
    const { seal } = protocolByName('lockstep', { ...OPTIONS, lagMsMax });
    assert.ok(seal.horizonIdleUs < lagMsMax * 1000, `${lagMsMax}`);
  }
});

policies('a protocol that does not exist is refused, with the nearest that does', () => {
  assert.throws(
    () => protocolByName('lockstop', OPTIONS),
    /"lockstop" is not a protocol.*did you mean "lockstep"/,
  );
});

policies('an io-log changes what is cut, not what the log alone ships', () => {
  for (const name of PROTOCOL_NAMES) {
    const { cut: before, ...blocks } = protocolByName(name, OPTIONS);
    const { cut, ...references } = protocolByName(name, { ...OPTIONS, disk: 'io-log' });
    assert.equal(references, blocks, name);
    assert.is(cut?.disk, before === null ? undefined : 'io-log', name);
    // A write of changed and unchanged pages ends an epoch, as in the paper, or any write does.
    const ends = cut?.events.some((event) => event === 'IO_LOG' || event === 'DISK_WRITE');
    assert.is(ends, before === null ? undefined : true, name);
  }
});

policies('each says its own name, and nothing else in the product does', () => {
  for (const name of PROTOCOL_NAMES) assert.is(protocolByName(name, OPTIONS).name, name);
  const files = ['src', 'native/kvm-exit-log'].flatMap((folder) =>
    filesBelow(projectRoot, folder, ['.ts', '.cc', '.h', '.c']),
  );
  const naming = files.filter((path) => {
    const text = readFileSync(join(projectRoot, path), 'utf8');
    return PROTOCOL_NAMES.some((name) => text.includes(`'${name}'`) || text.includes(`"${name}"`));
  });
  assert.equal(
    naming.filter((path) => !path.startsWith('src/epochs/')),
    [],
  );
});

policies.run();

const lags = suite('lag');

lags('the bound is the backup plus half of lag_ms_max at the rate measured', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  assert.is(icountOf(lag.boundAt(0)), 50_000n);
  for (let ms = 0; ms <= 100; ms += 5)
    lag.primaryAt({ atMs: ms, point: atIcount(BigInt(ms * 4000)) });
  lag.backupAt({ atMs: 100, point: atIcount(400_000n) });
  assert.is(icountOf(lag.boundAt(100)), 400_000n + 200_000n);
});

lags('a backup that is behind is waited for at its own rate', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  for (let ms = 0; ms <= 250; ms += 5) {
    lag.primaryAt({ atMs: ms, point: atIcount(BigInt(ms * 4000)) });
    lag.backupAt({ atMs: ms, point: atIcount(BigInt(ms * 2500)) });
  }
  assert.is(icountOf(lag.boundAt(250)), 250n * 2500n + 50n * 2500n);
  lag.primaryAt({ atMs: 255, point: atIcount(1_000_000n) });
  lag.backupAt({ atMs: 255, point: atIcount(1_000_000n) });
  const atFullRate = Number(icountOf(lag.boundAt(255)) - 1_000_000n);
  assert.ok(atFullRate > 50 * 3900, `${atFullRate}: it keeps up again`);
});

lags('a guest that slept is not held when it wakes: its backup was where it was', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  lag.primaryAt({ atMs: 0, point: atIcount(1000n) });
  lag.backupAt({ atMs: 5, point: atIcount(1000n) });
  for (let ms = 10; ms <= 500; ms += 10) lag.primaryAt({ atMs: ms, point: atIcount(1000n) });
  lag.primaryAt({ atMs: 510, point: atIcount(3000n) });
  assert.equal(lag.view(511), { instructions: 2000n, ms: 1, throttled: false });
  assert.ok(comparePoints(lag.boundAt(511), atIcount(3000n)) > 0, 'it may run');
  lag.primaryAt({ atMs: 520, point: atIcount(3001n) });
  assert.is(lag.view(520).throttled, false);
});

lags('a backup that stands still is waited for, though few instructions are left', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  const at = (ms: number): Point => atIcount(BigInt(ms * 100));
  lag.backupAt({ atMs: 0, point: at(1) });
  for (let ms = 1; ms <= 90; ms += 1) lag.primaryAt({ atMs: ms, point: at(ms) });
  assert.ok(comparePoints(lag.boundAt(90), at(90)) > 0, 'it may run');
  for (let ms = 91; ms <= 120; ms += 1) lag.primaryAt({ atMs: ms, point: at(ms) });
  lag.backupAt({ atMs: 120, point: at(1) });
  assert.is(lag.boundAt(120), at(120), 'here, and no further');
  lag.backupAt({ atMs: 121, point: at(60) });
  assert.ok(comparePoints(lag.boundAt(121), at(120)) > 0, 'it may run again');
});

lags('says how far behind the backup is, in instructions and ms', () => {
  const lag = new LagPolicy({ lagMsMax: 500 });
  for (let ms = 0; ms <= 100; ms += 5)
    lag.primaryAt({ atMs: ms, point: atIcount(BigInt(ms * 1000)) });
  lag.backupAt({ atMs: 100, point: atIcount(60_000n) });
  const view = lag.view(100);
  assert.is(view.instructions, 40_000n);
  assert.ok(view.ms >= 35 && view.ms <= 45, `${view.ms} ms`);
  lag.backupAt({ atMs: 100, point: atIcount(100_000n) });
  assert.equal(lag.view(100), { instructions: 0n, ms: 0, throttled: false });
});

lags('a primary at the bound is throttled, and for a while after', () => {
  const lag = new LagPolicy({ lagMsMax: 10, floorPerMs: 1000 });
  const bound = lag.boundAt(0);
  lag.primaryAt({ atMs: 5, point: bound });
  assert.is(lag.view(10).throttled, true);
  assert.is(lag.view(2000).throttled, false);
});

lags('idle time does not lower the rate that a burst after it needs', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  for (let ms = 0; ms <= 100; ms += 5)
    lag.primaryAt({ atMs: ms, point: atIcount(BigInt(ms * 4000)) });
  for (let ms = 100; ms <= 400; ms += 5) lag.primaryAt({ atMs: ms, point: atIcount(400_000n) });
  assert.ok(lag.ratePerMs > 3500, `${lag.ratePerMs} per ms`);
});

lags.run();
