// SPDX-License-Identifier: Apache-2.0
/** Seal and fill against a real process at the other end of a real ring. */
import { once } from 'node:events';
import { Message } from 'capnp-ts';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DraftRecord,
  producedRecords,
  Random,
  writeLog,
} from '../../bench/stand-ins/batches.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { CONTROL, charOut } from '../../native/kvm-exit-log/index.ts';
import {
  BATCH_FRAME_BYTES_MAX,
  type SealHeader,
  TestRing,
} from '../../native/kvm-exit-log/testing.ts';
import { Batch as BatchSchema } from '../../schema/log.capnp.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { Batch, type LogRecord } from '../../src/log/batch.ts';
import { KIND, kindHasPayload } from '../../src/log/kinds.ts';

const vmId = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const into = Buffer.alloc(BATCH_FRAME_BYTES_MAX + 64);

function header(ring: TestRing, sequence: bigint): SealHeader {
  const prevChecksum = sequence === 0n ? 0n : ring.lastSeal().checksum;
  return { vmId, term: 3, sequence, sealedAtNs: 77n, prevChecksum };
}

/** Seals on every notification until QEMU's END; returns copies of the frames. */
function sealAll(ring: TestRing, offset = 0): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  return new Promise((resolve, reject) => {
    ring.onNotify(() => {
      try {
        let bytes: number;
        do {
          bytes = ring.seal(into, offset, header(ring, BigInt(frames.length)));
          if (bytes > 0) frames.push(Buffer.from(into.subarray(offset, offset + bytes)));
        } while (bytes > 0);
        if (ring.status().state === 'ended' && ring.outPending() === 0) resolve(frames);
      } catch (error) {
        reject(error);
      }
    });
  });
}

function expectRecord(found: LogRecord, wanted: DraftRecord, index: number): void {
  const { icount, vtimeNs, kind, channel } = wanted;
  const got = { icount: icountOf(found.point), vtimeNs: found.vtimeNs, kind: found.kind };
  assert.equal({ ...got, channel: found.channel }, { icount, vtimeNs, kind, channel });
  assert.is(found.ordinal, BigInt(index));
  assert.is(found.len, wanted.payload?.length ?? wanted.len);
  if (wanted.payload === undefined) assert.is(found.arg, wanted.arg);
  else assert.ok(Buffer.compare(found.payload ?? Buffer.alloc(0), wanted.payload) === 0);
}

/** The generated reader and batch.ts must say the same of every field. */
function expectReadersAgree(frame: Buffer): void {
  const { header: ours, ...rest } = { header: Batch.open(frame, 0, frame.length).header };
  assert.equal(rest, {});
  const body = Uint8Array.prototype.slice.call(frame, 16);
  const root = new Message(body.buffer, false).getRoot(BatchSchema);
  assert.is(root.getHeaderChecksum(), ours.headerChecksum);
  assert.is(root.getBodyChecksum(), ours.bodyChecksum);
  assert.is(root.getVmIdLo(), vmId.readBigUInt64LE(0));
  assert.is(root.getVmIdHi(), vmId.readBigUInt64LE(8));
  assert.is(root.getLogVersion(), ours.logVersion);
  assert.is(root.getFlags(), 0);
  assert.is(root.getRecordCount(), ours.recordCount);
  assert.is(root.getTerm(), ours.term);
  assert.is(root.getDataBytes(), ours.dataBytes);
  assert.is(root.getEpoch(), ours.epoch);
  assert.is(root.getSequence(), ours.sequence);
  assert.is(root.getFirstIcount(), ours.firstIcount);
  assert.is(root.getLastIcount(), ours.lastIcount);
  assert.is(root.getHorizonIcount(), icountOf(ours.horizon.point));
  assert.is(root.getHorizonVtimeNs(), ours.horizon.vtimeNs);
  assert.is(root.getRecordBase(), ours.recordBase);
  assert.is(root.getDataBase(), ours.dataBase);
  assert.is(root.getOutputsReleased(), ours.outputsReleased);
  assert.is(root.getSealedAtNs(), ours.sealedAtNs);
  assert.is(root.getBodyPrevChecksum(), ours.prevChecksum);
  const list = root.getRecords();
  const data = root.getData();
  assert.is(list.getLength(), ours.recordCount);
  assert.is(data.getLength(), ours.dataBytes);
  let index = 0;
  for (const record of Batch.open(frame, 0, frame.length).records()) {
    const other = list.get(index++);
    assert.is(other.getIcount(), icountOf(record.point));
    assert.is(other.getVtimeNs(), record.vtimeNs);
    assert.is(other.getKind(), record.kind);
    assert.is(other.getChannel(), record.channel);
    assert.is(other.getLen(), record.len);
    assert.is(other.getArg(), record.arg);
    if (record.payload === null) continue;
    const from = Number(record.arg - ours.dataBase);
    const bytes = Buffer.from(data.toUint8Array().subarray(from, from + record.len));
    assert.ok(bytes.equals(record.payload));
  }
}

test('what C wrote is what both TypeScript readers read', async () => {
  const ring = new TestRing({ recordSlots: 256, dataBytes: 16384 });
  const sealed = sealAll(ring, 5);
  const fake = startFakeQemu(ring, 'produce', 42, 700, 300);
  const [frames] = await Promise.all([sealed, fake.done]);
  const wanted = [...producedRecords(42n, 700, 300)];
  let index = 0;
  for (const frame of frames) {
    expectReadersAgree(frame);
    for (const record of Batch.open(frame, 0, frame.length).records()) {
      const draft = wanted[index];
      if (draft === undefined) assert.is(record.kind, KIND.END);
      else expectRecord(record, draft, index);
      index++;
    }
  }
  assert.is(index, 701);
  ring.destroy();
});

test('rings wrap around at every size, and nothing is lost (40 seeds)', async () => {
  const first = Number(process.env.SEED ?? 1);
  const last = process.env.SEED === undefined ? 40 : first;
  for (let seed = first; seed <= last; seed++) {
    const random = new Random(BigInt(seed) * 7919n);
    const recordSlots = 2 ** (1 + random.below(7));
    const payloadMax = 1 + random.below(4000);
    const ring = new TestRing({ recordSlots, dataBytes: 4096 * 2 ** random.below(3) });
    const again = `SEED=${seed} node --import tsx test/native/ring.test.ts`;
    const sealed = sealAll(ring);
    const fake = startFakeQemu(ring, 'produce', seed, 400, payloadMax, random.below(20));
    const [frames] = await Promise.all([sealed, fake.done]);
    const wanted = [...producedRecords(BigInt(seed), 400, payloadMax)];
    const found = frames.flatMap((frame) => [...Batch.open(frame, 0, frame.length).records()]);
    assert.is(found.length, 401, again);
    wanted.forEach((draft, index) => {
      expectRecord(found[index] as LogRecord, draft, index);
    });
    ring.destroy();
  }
});

test('what is filled is what QEMU reads, through rings that wrap', async () => {
  const end = { icount: 1_000_000n, vtimeNs: 0n, kind: KIND.END, channel: 1, len: 0, arg: 0n };
  for (let seed = 1n; seed <= 12n; seed++) {
    const records = [...producedRecords(seed, 300, 600), { ...end, vtimeNs: 2_000_000n }];
    const frames = writeLog(vmId, records, 9);
    const ring = new TestRing({ recordSlots: 16, dataBytes: 8192 });
    const sealed = sealAll(ring);
    const fake = startFakeQemu(ring, 'echo', records.length);
    // `fill` that has no room is tried again when QEMU has taken something.
    let next = 0;
    const timer = setInterval(() => {
      for (; next < frames.length; next++) {
        const frame = frames[next] as Buffer;
        if (!ring.fill(frame, 0, frame.length)) break;
      }
      if (next === frames.length) clearInterval(timer);
    }, 1);
    const [echoed] = await Promise.all([sealed, fake.done]);
    const found = echoed.flatMap((frame) => [...Batch.open(frame, 0, frame.length).records()]);
    assert.is(found.length, records.length);
    records.forEach((draft, index) => {
      expectRecord(found[index] as LogRecord, draft, index);
    });
    assert.is(ring.status().inPending, 0);
    ring.destroy();
  }
});

test('a bounded batch offers no horizon beyond the records that stay behind', async () => {
  const ring = new TestRing({ recordSlots: 16384, dataBytes: 1 << 22 });
  await startFakeQemu(ring, 'produce', 5, 10_000, 100).done;
  const batches: Batch[] = [];
  for (let sequence = 0n; ; sequence++) {
    const bytes = ring.seal(into, 0, header(ring, sequence));
    if (bytes === 0) break;
    batches.push(Batch.open(Buffer.from(into.subarray(0, bytes)), 0, bytes));
  }
  assert.is(batches.length, 3);
  assert.equal(
    batches.map(({ header: { recordCount } }) => recordCount),
    [4096, 4096, 1809],
  );
  for (const [index, batch] of batches.entries()) {
    const next = batches[index + 1];
    if (next === undefined) continue;
    const first = next.record(0);
    const { point, vtimeNs } = first;
    assert.equal(batch.header.horizon, { point, vtimeNs });
    assert.is(next.header.prevChecksum, batch.header.checksum);
  }
  assert.ok(ring.lastSeal().ended);
  assert.is(ring.lastSeal().recordEnd, 10_001n);
  assert.is(ring.status().endReason, 'poweroff');
  ring.destroy();
});

test('a batch has at most 1 MiB of payload', async () => {
  const ring = new TestRing({ recordSlots: 4096, dataBytes: 1 << 23 });
  await startFakeQemu(ring, 'produce', 6, 300, 60_000).done;
  let records = 0;
  for (let sequence = 0n; ring.outPending() > 0; sequence++) {
    const bytes = ring.seal(into, 0, header(ring, sequence));
    assert.ok(bytes > 0 && ring.lastSeal().dataBytes <= 1 << 20);
    records += ring.lastSeal().records;
  }
  assert.is(records, 301);
  ring.destroy();
});

test('lastSeal counts outputs and console bytes; charOut joins them', async () => {
  const ring = new TestRing();
  await startFakeQemu(ring, 'produce', 9, 200, 64).done;
  const bytes = ring.seal(into, 0, header(ring, 0n));
  const wanted = [...producedRecords(9n, 200, 64)];
  const printed = wanted.filter(({ kind }) => kind === KIND.CHAR_OUT);
  const sent = wanted.filter(({ kind }) => kind === KIND.NET_OUT);
  const text = Buffer.concat(printed.map(({ payload }) => payload ?? Buffer.alloc(0)));
  assert.is(ring.lastSeal().outputs, printed.length + sent.length + 1);
  assert.is(ring.lastSeal().charOutBytes, text.length);
  assert.ok(charOut(into, 0, bytes, 'all').equals(text));
  const channel = printed[0]?.channel ?? 0;
  const one = printed.filter((record) => record.channel === channel);
  const oneText = Buffer.concat(one.map(({ payload }) => payload ?? Buffer.alloc(0)));
  assert.ok(charOut(into, 0, bytes, channel).equals(oneText));
  assert.ok(wanted.filter(({ kind }) => kindHasPayload(kind)).length > 0);
  ring.destroy();
});

test('progress alone is told about every millisecond, and the last of it is', async () => {
  const ring = new TestRing();
  let calls = 0;
  let sequence = 0n;
  ring.onNotify(() => {
    calls++;
    if (ring.seal(into, 0, header(ring, sequence)) > 0) sequence++;
  });
  const icount = BigInt(await startFakeQemu(ring, 'progress', 300).done);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(ring.lastSeal().horizonIcount, icount);
  assert.ok(calls > 1 && calls < 900, `${calls} calls in 300 ms`);
  ring.destroy();
});

test('a QEMU killed while it writes the horizon leaves the one before', async () => {
  const ring = new TestRing();
  const fake = startFakeQemu(ring, 'half-horizon');
  await once(fake.child, 'close');
  // The seqlock stays odd for ever: sealing must neither hang nor take the half.
  assert.is(ring.seal(into, 0, header(ring, 0n)), 0);
  ring.destroy();
});

/** Looks until it is so; an answer that does not come fails by the file's time limit. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('marks and checkpoints are asked for by waking QEMU, and answered in the status', async () => {
  const ring = new TestRing();
  const before = ring.status();
  assert.is(before.diskMarksDone, 0n);
  assert.is(before.checkpointsAnswered, 0n);
  assert.is(before.commit, 0n, 'no output may leave by itself when a replica goes live');
  assert.is(ring.requestDiskMark(), 1n);
  assert.is(ring.status().diskMarksDone, 0n, 'nobody is there to answer');
  const fake = startFakeQemu(ring, 'answer');
  await until(() => ring.status().diskMarksDone === 1n);
  assert.is(ring.requestDiskMark(), 2n);
  await until(() => ring.status().diskMarksDone === 2n);
  for (const [n, icount, failures] of [
    [1n, 1000n, 0n],
    [2n, 1000n, 1n],
    [3n, 3000n, 1n],
  ] as const) {
    assert.is(ring.requestCheckpoint(), n);
    await until(() => ring.status().checkpointsAnswered === n);
    assert.is(ring.status().checkpoint, atIcount(icount));
    assert.is(ring.status().checkpointFailures, failures);
    assert.is(ring.status().checkpoints, n - failures);
  }
  assert.is(ring.status().fullCheckpointDue, false);
  ring.requestFullCheckpoint();
  await until(() => !ring.status().fullCheckpointDue);
  ring.control(CONTROL.STOP);
  await fake.done;
  ring.destroy();
});

test('DETACHED is taken back, alone, and QEMU is woken', async () => {
  const ring = new TestRing();
  const fake = startFakeQemu(ring, 'answer');
  const seen = (): bigint => ring.status().injected; // what it saw of control
  ring.control(CONTROL.DETACHED | CONTROL.GO_LIVE);
  await until(() => seen() === 3n);
  ring.clearControl(CONTROL.DETACHED);
  await until(() => seen() === BigInt(CONTROL.GO_LIVE));
  assert.is(ring.status().control, CONTROL.GO_LIVE);
  ring.clearControl(CONTROL.DETACHED);
  ring.control(CONTROL.DETACHED);
  await until(() => seen() === 3n);
  ring.control(CONTROL.STOP);
  await fake.done;
  ring.destroy();
});

const BROKEN = {
  kind: /unknown kind 77/,
  none: /unknown kind 0/,
  'payload-beyond': /payload of record 0/,
  'payload-wild': /payload of record 0/,
  'payload-unaligned': /payload of record 0/,
  backwards: /is before icount 10, 20 ns/,
  'too-many': /more than the ring has room for/,
  'too-much-data': /more than the ring has room for/,
};
for (const [what, message] of Object.entries(BROKEN)) {
  test(`a QEMU that breaks the rules is found out: ${what}`, async () => {
    const ring = new TestRing({ recordSlots: 64, dataBytes: 4096 });
    await startFakeQemu(ring, 'break', what).done;
    try {
      ring.seal(into, 0, header(ring, 0n));
      assert.unreachable();
    } catch (error) {
      assert.is((error as { code?: string }).code, 'ERR_RING_CORRUPT');
      assert.match((error as Error).message, message);
    }
    ring.destroy();
  });
}

test('an error text without end and an unknown state are read safely', async () => {
  const ring = new TestRing();
  await startFakeQemu(ring, 'break', 'error-without-nul').done;
  assert.is(ring.status().error, 'x'.repeat(1024));
  assert.is(ring.status().state, 'failed');
  ring.destroy();
});

// A failed test leaves its ring polling; that must not hang the run.
test.after(() => {
  setTimeout(() => process.exit(), 2000).unref();
});

test.run();
