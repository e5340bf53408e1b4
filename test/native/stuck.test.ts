// SPDX-License-Identifier: Apache-2.0
/** What stands still too long is told, once, and nothing else is. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, type Limits } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import { LogFile } from '../../src/log/log-file.ts';

const RECORDS = 60;
/** More than 500 ms: a stall of all of this process is excused. */
const LIMITS: Limits = { diskMs: 10_000, courierMs: 10_000, ackMs: 600 };
const ACK_EVERY_MS = 20;
const stuck = suite('what makes no progress');

interface Shipped {
  /** The peer acknowledges what comes. */
  readonly acks?: boolean;
  /** Outputs wait for nobody. */
  readonly alone?: boolean;
}

/** A courier that ships what a QEMU has put there, to a peer by hand. */
async function shipped(limits: Limits, { acks = false, alone = false }: Shipped = {}) {
  const ring = new ExitRing();
  const file = new LogFile(join(tempDir('stuck'), 'log'), WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  t.courier.watch(limits);
  t.courier.ship({ ...SHIP, log: file.start });
  file.close();
  peer.giveTo(t);
  if (alone) t.courier.detach(2);
  const timer = acks ? setInterval(() => acknowledge(peer), ACK_EVERY_MS) : undefined;
  const end = (): void => {
    clearInterval(timer);
    t.courier.destroy();
    ring.destroy();
    peer.close();
  };
  await startFakeQemu(ring, 'produce', 5, RECORDS, 40).done;
  await until('all of it is sent', () => {
    const last = peer.batches.at(-1);
    return last !== undefined && readBatchHeader(last, 0).recordEnd === BigInt(RECORDS) + 1n;
  });
  return { t, peer, end };
}

function acknowledge(peer: HandPeer): void {
  for (const batch of peer.batches) {
    const { sequence, recordEnd } = readBatchHeader(batch, 0);
    peer.ack({ sequence, recordEnd });
  }
}

stuck('a peer that lives and acknowledges nothing is told of, once', async () => {
  const s = await shipped(LIMITS);
  await until('it is told', () => s.t.stuck.length > 0);
  assert.match(s.t.stuck[0] ?? '', /^acks: it has acknowledged nothing for \d+ ms/);
  await pause(LIMITS.ackMs * 2);
  assert.is(s.t.stuck.length, 1);
  assert.is(s.t.courier.shipFacts().stuckMs, 0, 'this side is well');
  s.end();
});

stuck('one that has acknowledged all is not, nor one that outputs need not wait for', async () => {
  for (const how of [{ acks: true }, { alone: true }]) {
    const s = await shipped(LIMITS, how);
    await until(
      'all is acknowledged',
      () => how.alone === true || s.t.courier.shipFacts().allAcked,
    );
    await pause(LIMITS.ackMs * 3);
    assert.equal(s.t.stuck, []);
    s.end();
  }
});

stuck('without limits nothing is', async () => {
  const s = await shipped({ diskMs: 0, courierMs: 0, ackMs: 0 });
  await pause(LIMITS.ackMs * 3);
  assert.equal(s.t.stuck, []);
  assert.is(
    s.peer.frames.some(({ type }) => type === FRAME.GOODBYE),
    false,
  );
  s.end();
});

stuck.run();
