// SPDX-License-Identifier: Apache-2.0
/**
 * Smoke of the hot path's speed: an order of magnitude below what a small machine
 * does, so that only a mistake fails it. Prints what it measured.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { xxh64 } from '../../native/kvm-exit-log/index.ts';
import { BATCH_FRAME_BYTES_MAX, TestRing } from '../../native/kvm-exit-log/testing.ts';

const vmId = Buffer.alloc(16, 1);

interface Load {
  readonly name: string;
  readonly records: number;
  readonly payloadMax: number;
  readonly recordsPerSecondMin: number;
}
const LOADS: Load[] = [
  { name: 'no payloads', records: 65_000, payloadMax: 0, recordsPerSecondMin: 3e5 },
  { name: 'payloads to 1500 bytes', records: 60_000, payloadMax: 1500, recordsPerSecondMin: 1e5 },
];

for (const { name, records, payloadMax, recordsPerSecondMin } of LOADS) {
  test(`seal and fill: ${name}`, async () => {
    const shape = { recordSlots: 1 << 16, dataBytes: 1 << 26 };
    const out = new TestRing(shape);
    const into = new TestRing(shape);
    await startFakeQemu(out, 'produce', 11, records, payloadMax).done;
    // Touched before the clock starts: page faults are not what is measured.
    const memory = Buffer.alloc(BATCH_FRAME_BYTES_MAX * 60, 1);
    const frames: [number, number][] = [];
    let at = 0;
    let prevChecksum = 0n;
    const sealFrom = performance.now();
    while (out.outPending() > 0) {
      const sequence = BigInt(frames.length);
      const header = { vmId, term: 1, sequence, sealedAtNs: 0n, prevChecksum };
      const bytes = out.seal(memory, at, header);
      prevChecksum = out.lastSeal().checksum;
      frames.push([at, bytes]);
      at += bytes;
    }
    const sealSeconds = (performance.now() - sealFrom) / 1000;
    const fillFrom = performance.now();
    for (const [offset, bytes] of frames) assert.ok(into.fill(memory, offset, bytes));
    const fillSeconds = (performance.now() - fillFrom) / 1000;
    const rate = (seconds: number): string =>
      `${(records / seconds / 1e6).toFixed(2)} M records/s, ${(at / seconds / 1e9).toFixed(2)} GB/s`;
    console.log(`${name}: seal ${rate(sealSeconds)}; fill ${rate(fillSeconds)}`);
    assert.ok(records / sealSeconds > recordsPerSecondMin);
    assert.ok(records / fillSeconds > recordsPerSecondMin);
    out.destroy();
    into.destroy();
  });
}

test('the cost of a call', () => {
  const ring = new TestRing();
  const memory = Buffer.alloc(BATCH_FRAME_BYTES_MAX);
  const rounds = 20_000;
  const from = performance.now();
  for (let n = 0; n < rounds; n++) {
    const header = { vmId, term: 1, sequence: BigInt(n), sealedAtNs: 0n, prevChecksum: 0n };
    assert.is(ring.seal(memory, 0, header), 0);
    ring.lastSeal();
  }
  const us = ((performance.now() - from) * 1000) / rounds;
  console.log(`nothing sealed, with lastSeal: ${us.toFixed(2)} us`);
  assert.ok(us < 200);
  ring.destroy();
});

test('xxh64', () => {
  const data = Buffer.alloc(1 << 26, 7);
  const from = performance.now();
  xxh64(data);
  const gigabytesPerSecond = data.length / (performance.now() - from) / 1e6;
  console.log(`xxh64: ${gigabytesPerSecond.toFixed(1)} GB/s`);
  assert.ok(gigabytesPerSecond > 0.3);
});

test.run();
