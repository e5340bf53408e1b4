// SPDX-License-Identifier: Apache-2.0
/** Epochs of a courier: where the guest waits, and what lets it go on. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { ackOf, HandPeer, pause, SHIP, TestCourier, until } from '../lib/courier.ts';
import { startFakeQemu } from '../lib/fake-qemu.ts';
import { tempDir, WRITER } from '../lib/logs.ts';

const EPOCH = 1000n;
const NOWHERE = 2n ** 64n - 1n;

/** A guest that computes, and a courier that ships its log in epochs to a peer by hand. */
async function computing(ms: number) {
  const ring = new ExitRing();
  const file = new LogFile(`${tempDir('epoch')}/log`, WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  const seal = { ...SHIP.seal, epochInstructions: Number(EPOCH) };
  t.courier.ship({ ...SHIP, seal, log: file.start });
  const guest = (): void => {
    startFakeQemu(ring, 'progress', ms).done.catch(() => {});
  };
  const bound = (): bigint => ring.status().icountMax;
  const position = (): bigint => ring.status().icount;
  const ackAll = (): void => {
    const last = peer.batches.at(-1);
    if (last === undefined) return;
    const { sequence, recordEnd } = readBatchHeader(last, 0);
    peer.socket.write(ackOf({ sequence, recordEnd }));
  };
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
    file.close();
  };
  return { ring, peer, t, courier: t.courier, guest, bound, position, ackAll, end };
}

const epochs = suite('epochs');

epochs('the guest waits at the end of its epoch until the log up to there is acked', async () => {
  const s = await computing(2000);
  assert.is(s.bound(), NOWHERE, 'nobody to wait for yet');
  s.peer.giveTo(s.courier);
  await until('an epoch has begun', () => s.bound() === EPOCH);
  s.guest();
  for (let epoch = 1n; epoch <= 5n; epoch += 1n) {
    const end = epoch * EPOCH;
    await until(`epoch ${epoch} is sent`, () => {
      const last = s.peer.batches.at(-1);
      return last !== undefined && readBatchHeader(last, 0).horizonIcount === end;
    });
    await pause(20);
    assert.is(s.position(), end, 'it does not run on');
    assert.is(s.bound(), end);
    s.ackAll();
    await until('the ack lets it', () => s.bound() === end + EPOCH);
  }
  s.end();
});

epochs('an old ack begins no epoch', async () => {
  const s = await computing(1000);
  s.peer.giveTo(s.courier);
  s.guest();
  await until('the guest waits', () => s.position() === EPOCH);
  await pause(30);
  const sent = s.peer.batches.length;
  assert.ok(sent >= 1);
  assert.is(s.bound(), EPOCH);
  s.ackAll();
  await until('the second one has begun', () => s.bound() === 2n * EPOCH);
  await until('and is sent', () => s.peer.batches.length > sent);
  const { sequence, recordEnd } = readBatchHeader(s.peer.batches[0] as Buffer, 0);
  s.peer.socket.write(ackOf({ sequence, recordEnd }));
  await pause(30);
  assert.is(s.bound(), 2n * EPOCH);
  s.end();
});

epochs('the lag bound holds where it comes first', async () => {
  const s = await computing(1000);
  s.ring.setIcountMax(EPOCH / 2n);
  s.peer.giveTo(s.courier);
  await pause(20);
  assert.is(s.bound(), EPOCH / 2n);
  s.ring.setIcountMax(5n * EPOCH);
  assert.is(s.bound(), EPOCH);
  s.end();
});

// The lag bound rises as the backup executes, and the backup executes what it has got:
// had the log gone no further than the last batch, both would have waited for ever.
epochs('at the lag bound the log is sent up to where the guest waits', async () => {
  const s = await computing(1500);
  const lag = EPOCH / 2n;
  s.ring.setIcountMax(lag);
  s.peer.giveTo(s.courier);
  s.guest();
  const sentUpTo = (icount: bigint) => () => {
    const last = s.peer.batches.at(-1);
    return last !== undefined && readBatchHeader(last, 0).horizonIcount === icount;
  };
  await until('it is sent', sentUpTo(lag));
  s.ackAll();
  await pause(30);
  assert.is(s.bound(), lag, 'the epoch is not over');
  s.ring.setIcountMax(5n * EPOCH);
  await until('the epoch is sent', sentUpTo(EPOCH));
  assert.is(s.bound(), EPOCH);
  s.end();
});

epochs('without its backup the guest waits until it is detached, then runs on', async () => {
  const s = await computing(1500);
  s.peer.giveTo(s.courier);
  s.guest();
  await until('the guest waits', () => s.position() === EPOCH);
  s.peer.close();
  await until('the loss is told', () => s.t.closed.length === 1);
  await pause(30);
  assert.is(s.position(), EPOCH, 'it is not known yet who goes on');
  s.courier.detach(2);
  await until('it runs on', () => s.position() > 3n * EPOCH);
  assert.is(s.bound(), NOWHERE);
  s.end();
});

epochs.run();
