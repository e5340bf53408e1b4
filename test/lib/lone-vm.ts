// SPDX-License-Identifier: Apache-2.0
/** A VM that runs alone, for tests of who joins it; and what its log's files have. */
import { basename, join } from 'node:path';
import * as assert from 'uvu/assert';
import { HandPeer, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, type ShipFacts, type ShipFrom } from '../../native/kvm-exit-log/index.ts';
import { BATCH_HEADER_BYTES, type BatchHeader, readBatchHeader } from '../../src/log/batch.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { LogReader } from '../../src/log/log-reader.ts';

export const MIB = 1 << 20;
/** More than is logged before a test ends; and if it is logged, no disk is full of it. */
const LOG_BYTES_MAX = 256 * MIB;

interface Load {
  readonly payloadMax?: number;
  readonly pauseUs?: number;
  readonly segmentBytesMax?: number;
}

/** A VM that runs alone: what it logs goes to small files. Its QEMU runs until `end`. */
export async function alone(load: Load = {}) {
  const { payloadMax = 2000, pauseUs = 300, segmentBytesMax = 64 * 1024 } = load;
  const ring = new ExitRing({ recordSlots: 4096, dataBytes: 4 * MIB });
  const dir = join(tempDir('join'), 'log');
  const file = new LogFile(dir, { ...WRITER, segmentBytesMax });
  const t = new TestCourier(ring);
  const { courier } = t;
  courier.ship({ ...SHIP, log: file.start });
  file.close();
  courier.detach(1);
  const records = Math.floor(LOG_BYTES_MAX / (32 + payloadMax / 4));
  const fake = startFakeQemu(ring, 'produce', 5, records, payloadMax, 7, pauseUs);
  fake.done.catch(() => {});
  const peers: HandPeer[] = [];
  const facts = (): ShipFacts => courier.shipFacts();
  return {
    ring,
    dir,
    t,
    courier,
    facts,
    commit: (): bigint => ring.status().commit,
    async logged(bytes: number): Promise<void> {
      await until(`${bytes} bytes of log`, () => facts().logBytes > bytes, 30_000);
    },
    /** A peer that gets the log from there on, and reads nothing before `resume`. */
    async join(from?: ShipFrom): Promise<HandPeer> {
      const peer = await HandPeer.make();
      peers.push(peer);
      peer.socket.pause();
      peer.giveTo(t, from);
      return peer;
    },
    async caughtUp(): Promise<void> {
      await until('it has caught up', () => !facts().catchingUp, 30_000);
    },
    /** The guest stops where it is; all that it has logged is sealed and sent. */
    async quiet(): Promise<void> {
      fake.child.kill('SIGKILL');
      await fake.done.catch(() => {});
      await courier.flush();
      await until('all of it is sent', () => !facts().catchingUp, 30_000);
    },
    end(): void {
      fake.child.kill('SIGKILL');
      courier.destroy();
      ring.destroy();
      for (const peer of peers) peer.close();
    },
  };
}

export interface Stored {
  readonly sequence: bigint;
  readonly recordEnd: bigint;
  readonly term: number;
  readonly segment: number;
  readonly bytes: Uint8Array;
}

/** Every whole batch of a log that may still grow. */
export async function stored(dir: string, fromIndex: number | 'oldest' = 1): Promise<Stored[]> {
  const all: Stored[] = [];
  for await (const { batch, file } of new LogReader(dir, { tail: 'torn', fromIndex })) {
    const { sequence, recordEnd, term } = batch.header;
    const segment = Number.parseInt(basename(file), 10);
    all.push({ sequence, recordEnd, term, segment, bytes: batch.frame });
  }
  return all;
}

/** The batch in the middle of what a running VM has logged so far. */
export async function middle(dir: string): Promise<Stored> {
  const all = await stored(dir);
  return all[all.length >> 1] as Stored;
}

/** That the peer has got exactly what is in the files, from this batch to the last. */
export async function sameAsFiles(peer: HandPeer, dir: string, from: bigint): Promise<void> {
  const want = (await stored(dir)).filter(({ sequence }) => sequence >= from);
  await until('it has come', () => peer.batches.length >= want.length, 30_000);
  const sequences = peer.batches.map((bytes) => readBatchHeader(bytes, 0).sequence);
  assert.equal(
    sequences,
    want.map(({ sequence }) => sequence),
  );
  assert.ok(Buffer.concat(peer.batches).equals(Buffer.concat(want.map(({ bytes }) => bytes))));
}

/** Header of the newest batch that it has got. */
export function newest(peer: HandPeer): BatchHeader {
  return readBatchHeader(peer.batches.at(-1) ?? Buffer.alloc(BATCH_HEADER_BYTES), 0);
}

/** Header of the first batch. */
export function oldest(peer: HandPeer): BatchHeader {
  return readBatchHeader(peer.batches[0] ?? Buffer.alloc(BATCH_HEADER_BYTES), 0);
}

export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return String((error as { code?: string }).code);
  }
  return 'none';
}
