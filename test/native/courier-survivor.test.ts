// SPDX-License-Identifier: Apache-2.0
/** A survivor's log continues the one that it has received, in the same files. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { producedRecords, writeLog } from '../../bench/stand-ins/batches.ts';
import { HandPeer, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import type { ReceiveOptions } from '../../native/kvm-exit-log/index.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { type BatchHeader, type LogRecord, readBatchHeader } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { codeOf } from '../lib/lone-vm.ts';

const records = [...producedRecords(5n, 70, 60)];
const frames = writeLog(VM_ID, records, 7);
const last = readBatchHeader(frames.at(-1) as Buffer, 0);
/** Where a VM goes live that has replayed all of it. */
const END = (records.at(-1)?.icount ?? 0n) + 1n;
const ALL = 1n << 40n;

interface Backup {
  readonly ring: GuestRing;
  readonly dir: string;
  readonly t: TestCourier;
  readonly peer: HandPeer;
  end(): void;
}

/** A backup that has received and replayed the log, and whose primary is lost. */
async function backup(options: Partial<ReceiveOptions> = {}): Promise<Backup> {
  const ring = new GuestRing();
  const dir = join(tempDir('survivor'), 'log');
  const file = new LogFile(dir, { ...WRITER, segmentBytesMax: 4096 });
  const t = new TestCourier(ring);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start, ...options });
  file.close();
  const peer = await HandPeer.make();
  peer.giveTo(t);
  const half = frames.length / 2;
  peer.socket.write(Buffer.concat(frames.slice(0, half)));
  await until('the first half', () => ring.status().inPending === half * 7);
  peer.socket.write(Buffer.concat(frames.slice(half)));
  await until('all is filled', () => ring.status().inPending === records.length);
  await until('all is stored', () => t.courier.receiveFacts().empty);
  peer.socket.destroy();
  await until('the primary is lost', () => t.closed.length === 1);
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
  };
  return { ring, dir, t, peer, end };
}

function says(ring: GuestRing, icount: bigint): void {
  ring.says({ state: 'recording', ended: false, icount, outputs: 0n, released: 0n, visits: 1n });
}

/** It is live, and its fence is won. */
function goesLive({ ring, t }: Backup): void {
  ring.take(ALL);
  ring.goesLive();
  says(ring, END);
  t.courier.closeReceive();
  t.courier.ship({ ...SHIP, term: 2, log: 'received' });
  t.courier.detach(2);
}

async function read(dir: string): Promise<{ headers: BatchHeader[]; all: LogRecord[] }> {
  const headers: BatchHeader[] = [];
  const all: LogRecord[] = [];
  for await (const { batch } of new LogReader(dir)) {
    headers.push(batch.header);
    all.push(...batch.records());
  }
  return { headers, all };
}

const goesOn = suite("a survivor's log");

goesOn('it is one log: ordinals, payload, sequence and checksums run on', async () => {
  const b = await backup();
  goesLive(b);
  const { ring, t, dir } = b;
  const start = ring.sees();
  assert.equal(
    [start.outHead, start.outDataHead],
    [last.recordEnd, last.dataBase + BigInt(last.dataBytes)],
  );
  assert.is(ring.put(KIND.CHAR_OUT, END + 1n, 0, 0n, Buffer.from('own words')), last.recordEnd);
  assert.is(ring.put(KIND.NET_OUT, END + 2n, 60, 5n), last.recordEnd + 1n);
  says(ring, END + 3n);
  await t.courier.flush();
  await until('it leaves', () => ring.status().commit === last.recordEnd + 2n);
  await until('it is shown', () => t.console.endsWith('own words'));
  await t.courier.close();
  const { headers, all } = await read(dir);
  const own = headers.slice(frames.length);
  assert.equal(
    headers.map(({ sequence }) => sequence),
    headers.map((_, index) => BigInt(index)),
  );
  assert.ok(own.length > 0 && own.every(({ term }) => term === 2));
  assert.ok(headers.slice(0, frames.length).every(({ term }) => term === 1));
  assert.is(own[0]?.prevChecksum, last.checksum);
  assert.is(own[0]?.dataBase, last.dataBase + BigInt(last.dataBytes));
  assert.equal(
    all.map(({ ordinal }) => ordinal),
    all.map((_, index) => BigInt(index)),
  );
  const [printed, sent] = all.slice(-2);
  assert.is(Buffer.from(printed?.payload ?? []).toString(), 'own words');
  assert.is(sent?.kind, KIND.NET_OUT);
  b.end();
});

goesOn('a backup that joins gets what the dead side logged, and what follows', async () => {
  const b = await backup();
  goesLive(b);
  const { ring, t } = b;
  const joining = await HandPeer.make();
  joining.giveTo(t, { sequence: 1n, segment: 1 });
  ring.put(KIND.NET_OUT, END + 2n, 60, 5n);
  says(ring, END + 3n);
  const heads = (): BatchHeader[] => joining.batches.map((frame) => readBatchHeader(frame, 0));
  await until('the new output', () => heads().at(-1)?.recordEnd === last.recordEnd + 1n);
  assert.equal(
    heads().map(({ sequence }) => sequence),
    heads().map((_, index) => BigInt(index + 1)),
  );
  assert.equal([heads()[0]?.term, heads().at(-1)?.term], [1, 2]);
  joining.close();
  b.end();
});

goesOn('with durability disk it goes on as well', async () => {
  const b = await backup({ durable: true });
  b.ring.take(ALL);
  b.ring.goesLive();
  says(b.ring, END);
  b.t.courier.ship({ ...SHIP, acksNeeded: 0, durable: true, term: 2, log: 'received' });
  b.ring.put(KIND.NET_OUT, END + 2n, 60, 5n);
  await until('synced, it leaves', () => b.ring.status().commit === last.recordEnd + 1n);
  await b.t.courier.close();
  assert.is((await read(b.dir)).all.length, records.length + 1);
  b.end();
});

goesOn('one that could not be stored: said again, and nothing more is written', async () => {
  const fd = openSync('/dev/full', 'w');
  const header = Buffer.alloc(200);
  const b = await backup({
    log: { fd, dir: '/x', index: 1, offset: 200, bytesMax: 1 << 20, header },
  });
  closeSync(fd);
  assert.is(b.t.failed.length, 1);
  goesLive(b);
  b.ring.put(KIND.NET_OUT, END + 2n, 60, 5n);
  await until('detached, it leaves', () => b.ring.status().commit === last.recordEnd + 1n);
  await until('it is told', () => b.t.failed.length > 1);
  assert.equal(b.t.failed, ['ENOSPC /x/000001.udl', 'ENOSPC /x/000001.udl']);
  const joining = await HandPeer.make();
  assert.is(
    codeOf(() => joining.giveTo(b.t, { sequence: 1n, segment: 1 })),
    'ERR_RING_STATE',
  );
  joining.close();
  b.end();
});

goesOn('refused: from nothing, before all is replayed, and where QEMU has not ended', async () => {
  const none = new TestCourier(new GuestRing());
  const options = { ...SHIP, term: 2, log: 'received' } as const;
  assert.is(
    codeOf(() => none.courier.ship(options)),
    'ERR_RING_STATE',
  );
  none.courier.destroy();

  const b = await backup();
  says(b.ring, END);
  assert.is(
    codeOf(() => b.t.courier.ship(options)),
    'ERR_RING_CORRUPT',
    'OUT begins at 0',
  );
  b.ring.take(ALL);
  b.ring.goesLive();
  assert.is(
    codeOf(() => b.t.courier.ship(options)),
    'none',
    'nothing was changed by the refusal',
  );
  b.end();

  // More than the replay ring holds: the rest waits.
  const small = new GuestRing({ recordSlots: 16, dataBytes: 4096 });
  const t = new TestCourier(small);
  const file = new LogFile(join(tempDir('small'), 'log'), WRITER);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start });
  file.close();
  const peer = await HandPeer.make();
  peer.giveTo(t);
  peer.socket.write(Buffer.concat(frames));
  await until('all came', () => t.courier.receiveFacts().storedSequence === last.sequence);
  assert.is(
    codeOf(() => t.courier.ship(options)),
    'ERR_RING_STATE',
  );
  t.courier.destroy();
  small.destroy();
  peer.close();
});

goesOn('what QEMU says of before the log it received is refused', async () => {
  const b = await backup();
  b.ring.take(ALL);
  b.ring.goesLive();
  b.t.courier.ship({ ...SHIP, term: 2, log: 'received' });
  b.t.courier.detach(2);
  says(b.ring, 1n);
  b.ring.put(KIND.NET_OUT, 1n, 60, 5n);
  await until('it is broken', () => b.t.broken.length > 0);
  assert.match(b.t.broken[0] ?? '', /the horizon went back/);
  b.end();
});

goesOn.run();
