// SPDX-License-Identifier: Apache-2.0
/** A log into a ring: from where it is entered, each batch when there is room for it. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Batch } from '../../src/log/batch.ts';
import { Feed } from '../../src/vm/feed.ts';
import { writeBatch } from '../lib/batch-writer.ts';

const VM_ID = Buffer.alloc(16, 1);

interface Context {
  /** How many batches the ring has still room for. */
  room: number;
  /** Ordinals of the first records of what it took. */
  fed: bigint[];
  notify: () => void;
  ring: { fill: (frame: Uint8Array) => boolean; onNotify: (run: () => void) => void };
}

const feeding = suite<Context>('feed');

feeding.before.each((context) => {
  context.room = 100;
  context.fed = [];
  context.ring = {
    fill: (frame) => {
      if (context.room === 0) return false;
      context.room -= 1;
      context.fed.push(Batch.open(Buffer.from(frame), 0, frame.length).header.recordBase);
      return true;
    },
    onNotify: (run) => {
      context.notify = run;
    },
  };
});

/** Batches of one record each. */
async function* logOf(count: number, fails = false) {
  for (let at = 0n; at < count; at += 1n) {
    const { frame } = writeBatch({
      vmId: VM_ID,
      term: 1,
      sequence: at,
      recordBase: at,
      horizon: at,
      outputsReleased: 0n,
      prevChecksum: 0n,
      records: [{ icount: at, kind: 1 }],
    });
    yield { batch: Batch.open(frame, 0, frame.length) };
  }
  if (fails) throw new Error('damaged');
}

const settled = (): Promise<void> => new Promise(setImmediate);

feeding('what is before the entrance is read and not fed', async ({ ring, fed }) => {
  const from = { sequence: 2n, recordBase: 2n, dataBase: 0n, prevChecksum: 0n };
  const told: bigint[] = [];
  const feed = new Feed({
    ring,
    log: logOf(5),
    from,
    onFed: ({ header }) => told.push(header.recordBase),
  });
  await feed.done;
  feed.close();
  assert.equal(fed, [2n, 3n, 4n]);
  assert.equal(told, fed);
});

feeding('a batch waits until there is room', async (context) => {
  context.room = 2;
  const { ring, fed } = context;
  let notified = 0;
  const feed = new Feed({ ring, log: logOf(4), from: null, onNotify: () => (notified += 1) });
  await settled();
  assert.equal(fed, [0n, 1n]);
  // Its own look at the ring, every 20 ms, may come between, and not within.
  const told = (): number => {
    const before = notified;
    context.notify();
    return notified - before;
  };
  assert.is(told(), 1);
  await settled();
  assert.equal(fed, [0n, 1n], 'there is none yet');
  context.room = 5;
  assert.is(told(), 1);
  await feed.done;
  feed.close();
  assert.equal(fed, [0n, 1n, 2n, 3n]);
});

feeding('QEMU is gone: what waits for room is not fed', async (context) => {
  context.room = 1;
  const { ring, fed } = context;
  const feed = new Feed({ ring, log: logOf(4), from: null });
  await settled();
  context.room = 5;
  feed.close();
  await feed.done;
  assert.equal(fed, [0n]);
});

feeding('a damaged log is told, after what is good of it', async ({ ring, fed }) => {
  const feed = new Feed({ ring, log: logOf(2, true), from: null });
  const error = await feed.done.then(
    () => null,
    (reason: unknown) => reason,
  );
  feed.close();
  assert.is((error as Error).message, 'damaged');
  assert.equal(fed, [0n, 1n]);
});

feeding.run();
