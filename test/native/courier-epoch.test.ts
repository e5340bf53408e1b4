// SPDX-License-Identifier: Apache-2.0
/** Epochs of a courier: where the guest waits, and what lets it go on. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import { tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { LogFile } from '../../src/log/log-file.ts';

const EPOCH = 1000n;
/** Longer than any test: its end ends the guest. */
const FOREVER_MS = 60_000;

/** A guest that computes, and a courier that ships its log in epochs to a peer by hand. */
async function computing({ ms = FOREVER_MS, epoch = EPOCH } = {}) {
  const ring = new ExitRing();
  const file = new LogFile(`${tempDir('epoch')}/log`, WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  const seal = { ...SHIP.seal, stopInstructions: Number(epoch) };
  t.courier.ship({ ...SHIP, seal, log: file.start });
  let kill = (): void => {};
  const guest = (): void => {
    const { child, done } = startFakeQemu(ring, 'progress', ms);
    kill = () => child.kill('SIGKILL');
    done.catch(() => {}); // it was killed
  };
  const bound = (): bigint | null => {
    const point = ring.status().bound;
    return point === null ? null : icountOf(point);
  };
  const position = (): bigint => icountOf(ring.status().point);
  const ackAll = (): void => {
    const last = peer.batches.at(-1);
    if (last === undefined) return;
    const { sequence, recordEnd } = readBatchHeader(last, 0);
    peer.ack({ sequence, recordEnd });
  };
  /** Before the guest computes: an epoch counts from where it is. */
  const begin = async (): Promise<void> => {
    peer.giveTo(t);
    await until('an epoch has begun', () => bound() === epoch);
  };
  /** Up to where the newest batch goes; -1: there is none. */
  const sentTo = (): bigint => {
    const last = peer.batches.at(-1);
    return last === undefined ? -1n : icountOf(readBatchHeader(last, 0).horizon.point);
  };
  const end = (): void => {
    kill();
    t.courier.destroy();
    ring.destroy();
    peer.close();
    file.close();
  };
  return { ring, peer, t, courier: t.courier, guest, bound, position, begin, sentTo, ackAll, end };
}

const epochs = suite('epochs');

epochs('the guest waits at the end of its epoch until the log up to there is acked', async () => {
  const s = await computing();
  assert.is(s.bound(), null, 'nobody to wait for yet');
  await s.begin();
  s.guest();
  for (let epoch = 1n; epoch <= 5n; epoch += 1n) {
    const end = epoch * EPOCH;
    await until(`epoch ${epoch} is sent`, () => s.sentTo() === end);
    await pause(20);
    assert.is(s.position(), end, 'it does not run on');
    assert.is(s.bound(), end);
    s.ackAll();
    await until('the ack lets it', () => s.bound() === end + EPOCH);
  }
  s.end();
});

epochs('an old ack begins no epoch', async () => {
  const s = await computing();
  await s.begin();
  s.guest();
  await until('the epoch is sent', () => s.sentTo() === EPOCH);
  const sent = s.peer.batches.length;
  assert.is(s.bound(), EPOCH);
  s.ackAll();
  await until('the second one has begun', () => s.bound() === 2n * EPOCH);
  await until('and is sent', () => s.peer.batches.length > sent);
  const { sequence, recordEnd } = readBatchHeader(s.peer.batches[0] as Buffer, 0);
  s.peer.ack({ sequence, recordEnd });
  await pause(30);
  assert.is(s.bound(), 2n * EPOCH);
  s.end();
});

epochs('the lag bound holds where it comes first', async () => {
  const s = await computing();
  await s.begin();
  s.ring.setBound(atIcount(EPOCH / 2n));
  assert.is(s.bound(), EPOCH / 2n);
  s.ring.setBound(atIcount(5n * EPOCH));
  assert.is(s.bound(), EPOCH);
  s.end();
});

// The lag bound rises as the backup executes, and the backup executes what it has got:
// had the log gone no further than the last batch, both would have waited for ever.
epochs('at the lag bound the log is sent up to where the guest waits', async () => {
  const s = await computing();
  const lag = EPOCH / 2n;
  await s.begin();
  s.ring.setBound(atIcount(lag));
  s.guest();
  await until('it is sent', () => s.sentTo() === lag);
  s.ackAll();
  await pause(30);
  assert.is(s.bound(), lag, 'the epoch is not over');
  s.ring.setBound(atIcount(5n * EPOCH));
  await until('the epoch is sent', () => s.sentTo() === EPOCH);
  assert.is(s.bound(), EPOCH);
  s.end();
});

epochs('a guest that stops within an epoch: its backup gets to where it is', async () => {
  const s = await computing({ ms: 100, epoch: EPOCH ** 3n });
  await s.begin();
  s.guest();
  await until('it computes', () => s.position() > EPOCH);
  await until('its backup is told', () => s.sentTo() > EPOCH);
  assert.ok(s.position() < (s.bound() ?? 0n), 'the epoch is not over');
  s.end();
});

epochs('without its backup the guest waits until it is detached, then runs on', async () => {
  const s = await computing();
  await s.begin();
  s.guest();
  await until('the guest waits', () => s.position() === EPOCH);
  s.peer.close();
  await until('the loss is told', () => s.t.closed.length === 1);
  await pause(30);
  assert.is(s.position(), EPOCH, 'it is not known yet who goes on');
  s.courier.detach(2);
  await until('it runs on', () => s.position() > 3n * EPOCH);
  assert.is(s.bound(), null);
  s.end();
});

epochs.run();
