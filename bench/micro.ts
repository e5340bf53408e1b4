// SPDX-License-Identifier: Apache-2.0
/**
 * Micro-benchmarks of the codec, the ring and the segment: what a record costs on its way
 * through the data path, without a VM.
 *
 *   npm run bench:micro -- [--only NAME,…] [--seconds 1]
 *
 * One JSON object on stdout, progress on stderr. Needs a C compiler: the other end of the
 * ring is test/native/fake-qemu.c.
 */
import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { checkFrame, ExitRing, xxh64 } from '../native/kvm-exit-log/index.ts';
import { BATCH_FRAME_BYTES_MAX, patchOf, TestRing } from '../native/kvm-exit-log/testing.ts';
import { Ack } from '../schema/wire.capnp.ts';
import { Random } from '../src/lab/random.ts';
import { Batch, readBatchHeader } from '../src/log/batch.ts';
import { draftControl, FRAME, openControl } from '../src/log/frame.ts';
import { LogFile } from '../src/log/log-file.ts';
import { LogReader } from '../src/log/log-reader.ts';
import { producedRecords, writeLog } from './stand-ins/batches.ts';
import { SHIP, TestCourier } from './stand-ins/courier.ts';
import { startFakeQemu } from './stand-ins/fake-qemu.ts';
import { writeFrames } from './stand-ins/log-writer.ts';
import { VM_ID, WRITER } from './stand-ins/logs.ts';
import { mean, variance } from './stats.ts';

const { values } = parseArgs({
  options: { only: { type: 'string' }, seconds: { type: 'string', default: '1' } },
});
const seconds = Number(values.seconds);
const only = values.only?.split(',');
if (!(seconds > 0 && seconds <= 60)) {
  console.error('usage: [--only NAME,…] [--seconds 1]');
  process.exit(2);
}

const RECORDS = 1024;
const PAGE = 4096;

/** What one operation is worth, to give rates that mean something. */
interface Work {
  readonly records?: number;
  readonly bytes: number;
}

interface Micro {
  readonly name: string;
  readonly what: string;
  readonly work: Work;
  readonly run: () => unknown;
  /** For each sample, outside of what is timed. */
  readonly prepare?: () => void;
  readonly async?: () => Promise<unknown>;
}

const dir = mkdtempSync(join(tmpdir(), 'understudy-micro-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

/** A batch as the courier sends it: this many records, some with a packet. */
function frames(payloadMax: number, batches: number): Buffer[] {
  const records = [...producedRecords(7n, RECORDS * batches, payloadMax)];
  return writeLog(VM_ID, records, RECORDS);
}

function batchCodec(): Micro[] {
  const [small = Buffer.alloc(0)] = frames(0, 1);
  const [large = Buffer.alloc(0)] = frames(1500, 1);
  const of = (frame: Buffer): Work => ({ records: RECORDS, bytes: frame.length });
  return [
    {
      name: 'codec/verify',
      what: 'a batch of 1024 records without payload: frame, checksums, rules',
      work: of(small),
      run: () => checkFrame(small, 0, small.length),
    },
    {
      name: 'codec/verify-payload',
      what: 'the same with packets of up to 1500 bytes',
      work: of(large),
      run: () => checkFrame(large, 0, large.length),
    },
    {
      name: 'codec/header',
      what: "a batch's header, decoded",
      work: { bytes: 0 },
      run: () => readBatchHeader(small, 0),
    },
    {
      name: 'codec/scan',
      what: 'a batch verified, all records scanned as numbers',
      work: of(small),
      run() {
        let sum = 0;
        Batch.open(small, 0, small.length).scan((_index, icount) => {
          sum += icount;
        });
        return sum;
      },
    },
    {
      name: 'codec/records',
      what: 'a batch verified, all records as objects with payload',
      work: of(large),
      run() {
        let sum = 0;
        for (const record of Batch.open(large, 0, large.length).records()) sum += record.len;
        return sum;
      },
    },
  ];
}

function otherCodec(): Micro[] {
  const ack = (): Buffer => {
    const draft = draftControl(FRAME.ACK, Ack);
    draft.root.setSequence(77n);
    return draft.frame();
  };
  const sealed = ack();
  const megabyte = Buffer.alloc(1 << 20, 7);
  return [
    {
      name: 'codec/ack-write',
      what: "an acknowledgement, written by the control messages' codec",
      work: { bytes: sealed.length },
      run: ack,
    },
    {
      name: 'codec/ack-read',
      what: 'the same, verified and read',
      work: { bytes: sealed.length },
      run: () => openControl(sealed, 0, sealed.length, FRAME.ACK, Ack).getSequence(),
    },
    {
      name: 'codec/xxh64',
      what: 'the checksum of 1 MiB',
      work: { bytes: megabyte.length },
      run: () => xxh64(megabyte),
    },
  ];
}

/**
 * Nobody takes from these rings: each sample begins with one that has room, and what does
 * not fit any more begins another, whose cost is in the result (about one in forty).
 */
function ring(): Micro[] {
  const shape = { recordSlots: 1 << 16, dataBytes: 1 << 26 };
  const fill = (name: string, what: string, payloadMax: number): Micro => {
    // As many as are sure to fit.
    const batches = frames(payloadMax, 40);
    const bytes = batches.reduce((sum, { length }) => sum + length, 0);
    let into = new ExitRing(shape);
    let next = 0;
    const fresh = (): void => {
      into.destroy();
      into = new ExitRing(shape);
      next = 0;
    };
    return {
      name,
      what,
      work: { records: RECORDS, bytes: bytes / batches.length },
      prepare: fresh,
      run() {
        if (next === batches.length) fresh();
        const frame = batches[next] ?? Buffer.alloc(0);
        next += 1;
        if (!into.fill(frame, 0, frame.length)) throw new Error('the ring has no room');
      },
    };
  };
  const memory = Buffer.alloc(BATCH_FRAME_BYTES_MAX, 1);
  const idle = new TestRing();
  return [
    fill('ring/fill', 'a batch of 1024 records verified and put into a ring', 0),
    fill('ring/fill-payload', 'the same with packets of up to 1500 bytes', 1500),
    {
      name: 'ring/seal-empty',
      what: 'a look at a ring that has nothing to seal: the cost of a call',
      work: { bytes: 0 },
      run() {
        const header = { vmId: VM_ID, term: 1, sequence: 0n, sealedAtNs: 0n, prevChecksum: 0n };
        return idle.seal(memory, 0, header);
      },
    },
    {
      name: 'ring/status',
      what: 'a snapshot of what QEMU says about itself',
      work: { bytes: 0 },
      run: () => idle.status(),
    },
  ];
}

/** Pages of which so many bytes each have changed, here and there; a patch at a time. */
function patches(): Micro[] {
  const pages = 1024;
  const random = new Random(1);
  return [0, 8, 32, 128, 4096].map((bytes) => {
    const versions = [0, 1].map(() => Buffer.alloc(pages * PAGE));
    for (let at = 0; at < pages * bytes; at += 1) {
      const within = bytes === PAGE ? at % PAGE : random.below(PAGE);
      const where = Math.floor(at / bytes) * PAGE + within;
      for (const [n, version] of versions.entries()) version[where] = 1 + n;
    }
    const known = Buffer.from(versions[1] ?? '');
    let turn = 0;
    return {
      name: `patch/${bytes}`,
      what: `${pages} pages compared with what a backup has, ${bytes} bytes of each are other`,
      work: { bytes: known.length },
      run() {
        turn = 1 - turn;
        return patchOf(known, versions[turn] ?? known);
      },
    };
  });
}

/** Sealing needs records that another process has put there: timed by hand, ring by ring. */
async function sealing(payloadMax: number): Promise<Stats> {
  const shape = { recordSlots: 1 << 16, dataBytes: 1 << 26 };
  const memory = Buffer.alloc(BATCH_FRAME_BYTES_MAX, 1);
  const samples: number[] = [];
  let records = 0;
  let bytes = 0;
  for (const untilMs = performance.now() + seconds * 1000; performance.now() < untilMs; ) {
    const out = new TestRing(shape);
    await startFakeQemu(out, 'produce', 11, 60_000, payloadMax).done;
    let prevChecksum = 0n;
    for (let sequence = 0n; out.outPending() > 0; sequence += 1n) {
      const header = { vmId: VM_ID, term: 1, sequence, sealedAtNs: 0n, prevChecksum };
      const fromMs = performance.now();
      const frameBytes = out.seal(memory, 0, header);
      samples.push((performance.now() - fromMs) / 1000);
      const last = out.lastSeal();
      prevChecksum = last.checksum;
      records += last.records;
      bytes += frameBytes;
    }
    out.destroy();
  }
  const work = { records: records / samples.length, bytes: bytes / samples.length };
  return byHand(samples, work);
}

function segment(): Micro[] {
  const log = join(dir, 'log');
  const all = frames(200, 64);
  writeFrames(log, all, WRITER);
  const total = all.reduce((sum, { length }) => sum + length, 0);
  return [
    {
      name: 'segment/read',
      what: 'a log of 64 batches of 1024 records read and verified, chain and all',
      work: { records: RECORDS * 64, bytes: total },
      run: () => {},
      async async() {
        let batches = 0;
        for await (const { batch } of new LogReader(log, { vmId: VM_ID })) {
          batches += batch.header.recordCount > 0 ? 1 : 0;
        }
        if (batches !== all.length) throw new Error(`${batches} batches were read`);
      },
    },
  ];
}

/**
 * The courier of a recorder: from a ring that another process has filled to a segment, until
 * all of it may leave. A file of its own each time.
 */
async function shipping(durable: boolean): Promise<Stats> {
  const samples: number[] = [];
  const records = 60_000;
  let bytes = 0;
  for (const untilMs = performance.now() + seconds * 1000; performance.now() < untilMs; ) {
    const out = new ExitRing({ recordSlots: 1 << 16, dataBytes: 1 << 26 });
    await startFakeQemu(out, 'produce', 11, records, 0).done;
    const file = new LogFile(join(dir, `shipped-${durable}-${samples.length}`), WRITER);
    const { courier, failed } = new TestCourier(out);
    const fromMs = performance.now();
    courier.ship({ ...SHIP, acksNeeded: 0, durable, log: file.start });
    while (out.status().commit <= BigInt(records)) {
      if (failed.length > 0) throw new Error(failed.join());
      await new Promise((resolve) => setImmediate(resolve));
    }
    samples.push((performance.now() - fromMs) / 1000);
    bytes += fstatSync(file.start.fd).size;
    courier.destroy();
    out.destroy();
    file.close();
  }
  const work = { records, bytes: bytes / samples.length };
  return byHand(samples, work);
}

function byHand(samples: readonly number[], work: Work): Stats {
  const middle = mean(samples);
  const error = samples.length < 2 ? Number.NaN : Math.sqrt(variance(samples) / samples.length);
  return statsOf(middle, (1.96 * error * 100) / middle, samples.length, work);
}

interface Stats {
  readonly us: number;
  /** Relative margin of error of the mean, in %, 95 %. */
  readonly error_percent: number;
  readonly samples: number;
  readonly records_per_s: number | null;
  readonly mb_per_s: number | null;
}

function statsOf(mean: number, rme: number, samples: number, { records, bytes }: Work): Stats {
  const rounded = (value: number): number => Number(value.toPrecision(4));
  return {
    us: rounded(mean * 1e6),
    error_percent: rounded(rme),
    samples,
    records_per_s: records === undefined ? null : rounded(records / mean),
    mb_per_s: bytes === 0 ? null : rounded(bytes / mean / 1e6),
  };
}

function measure({ run, prepare, async: asynchronous, work }: Micro): Promise<Stats> {
  return new Promise((resolve, reject) => {
    const deferred = asynchronous !== undefined;
    const bench = new Benchmark({
      maxTime: seconds,
      minSamples: 5,
      defer: deferred,
      fn: deferred
        ? (when: { resolve(): void }) => {
            asynchronous().then(() => when.resolve(), reject);
          }
        : run,
      ...(prepare === undefined ? {} : { onCycle: prepare }),
      onComplete: () => {
        const { stats, error } = bench as Benchmark & { error?: Error };
        if (error !== undefined) reject(error);
        else resolve(statsOf(stats.mean, stats.rme, stats.sample.length, work));
      },
    });
    bench.run({ async: true });
  });
}

const results: Record<string, Stats & { readonly what: string }> = {};
const isWanted = (name: string): boolean =>
  only === undefined || only.some((word) => name.startsWith(word));

function note(name: string, what: string, stats: Stats): void {
  results[name] = { what, ...stats };
  const rate =
    stats.records_per_s === null ? '' : `, ${(stats.records_per_s / 1e6).toFixed(2)} M records/s`;
  const bytes = stats.mb_per_s === null ? '' : `, ${stats.mb_per_s} MB/s`;
  console.error(`${name.padEnd(22)} ${stats.us} µs ±${stats.error_percent} %${rate}${bytes}`);
}

for (const micro of [...batchCodec(), ...otherCodec(), ...ring(), ...patches(), ...segment()]) {
  if (isWanted(micro.name)) note(micro.name, micro.what, await measure(micro));
}
for (const [name, payloadMax] of [
  ['ring/seal', 0],
  ['ring/seal-payload', 1500],
] as const) {
  const payload = payloadMax === 0 ? 'without payload' : `packets of up to ${payloadMax} bytes`;
  const what = `records of another process sealed, 4096 and 1 MiB at most; ${payload}`;
  if (isWanted(name)) note(name, what, await sealing(payloadMax));
}
for (const durable of [false, true]) {
  const name = durable ? 'segment/ship-durable' : 'segment/ship';
  const what =
    "60,000 records from a ring through a recorder's courier to a segment, committed" +
    (durable ? ', each batch fdatasynced' : '');
  if (isWanted(name)) note(name, what, await shipping(durable));
}
console.log(
  JSON.stringify({ date: new Date().toISOString(), cpu: cpus()[0]?.model, seconds, results }),
);
process.exit(0);
