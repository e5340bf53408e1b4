// SPDX-License-Identifier: Apache-2.0
/** Heartbeats that a courier sends and hears by itself. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { FRAME } from '../../src/log/frame.ts';
import { decodeHeartbeat, encodeHeartbeat, type Heartbeat } from '../../src/wire/messages.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { goodbye } from '../lib/told.ts';

const beats = suite('heartbeats of a courier');

const BEAT: Heartbeat = {
  counter: 5n,
  sentAtNs: 1n,
  position: { point: atIcount(0n), vtimeNs: 0n },
  term: 3,
  state: 'protected',
  echoCounter: 0n,
  echoSentAtNs: 0n,
  visits: 0n,
};
const SAYS = {
  state: 'recording',
  ended: false,
  icount: 0n,
  outputs: 0n,
  released: 0n,
  visits: 1n,
} as const;
const frameOf = (change: Partial<Heartbeat> = {}): Buffer =>
  encodeHeartbeat({ ...BEAT, ...change });
const wordsOf = (buffer: Buffer): Heartbeat =>
  decodeHeartbeat({ type: FRAME.HEARTBEAT, buffer, offset: 0, length: buffer.length });

/** A courier with a link, its far end by hand, and the heartbeats that came there. */
async function carried() {
  const ring = new GuestRing();
  const t = new TestCourier(ring);
  const peer = await HandPeer.make();
  peer.start(t);
  peer.giveTo(t);
  const heard = (): Heartbeat[] =>
    peer.frames.filter(({ type }) => type === FRAME.HEARTBEAT).map(decodeHeartbeat);
  const end = (): void => {
    ring.destroy();
    peer.close();
  };
  return { ring, t, peer, link: peer.far, heard, end };
}

beats('go on by themselves, with what changes, until nobody comes back', async () => {
  const c = await carried();
  c.ring.says({ ...SAYS, icount: 77n });
  assert.is(c.link.beat(frameOf(), 10, 200), true);
  const fromMs = performance.now();
  await until('some', () => c.heard().length >= 5);
  c.peer.socket.write(frameOf({ counter: 41n, sentAtNs: 42n }));
  await until('an echo', () => c.heard().at(-1)?.echoCounter === 41n);
  await until('they end', () => performance.now() - fromMs > 300);
  const all = c.heard();
  assert.ok(all.length >= 5 && all.length <= 21, `${all.length} in 200 ms`);
  all.forEach((beat, at) => {
    assert.is(beat.counter, BigInt(6 + at));
    assert.is(icountOf(beat.position.point), 77n);
    assert.equal([beat.term, beat.state], [3, 'protected']);
    assert.ok(Math.abs(Number(beat.sentAtNs) / 1e6 - Date.now()) < 2000);
  });
  await pause(50);
  assert.is(c.heard().length, all.length);
  c.link.beat(frameOf(), 10, 200);
  await until('again', () => c.heard().length > all.length);
  c.end();
});

beats('a JavaScript that does not come back is told of, once', async () => {
  const c = await carried();
  const goodbyes = (): number => c.peer.frames.filter(({ type }) => type === FRAME.GOODBYE).length;
  c.t.courier.watch({ diskMs: 10_000, courierMs: 600, ackMs: 10_000 });
  c.t.courier.lastWords(new Uint8Array(), new Uint8Array(), goodbye);
  assert.is(c.link.beat(frameOf(), 10, 200), true);
  await until('the last words', () => goodbyes() === 1);
  assert.match(c.t.stuck[0] ?? '', /^control: its control has made no progress for [2-9]\d\d ms$/);
  const all = c.heard().length;
  await pause(300);
  assert.equal([c.heard().length, goodbyes(), c.t.stuck.length], [all, 1, 1]);
  c.link.beat(frameOf(), 10, 60_000);
  await until('it is back', () => c.heard().length > all + 5);
  assert.is(goodbyes(), 1);
  c.end();
});

beats('other words leave at once, the same ones in their turn', async () => {
  const c = await carried();
  c.link.beat(frameOf(), 5000, 60_000);
  await until('the first', () => c.heard().length === 1);
  c.link.beat(frameOf(), 5000, 60_000);
  c.link.beat(frameOf({ state: 'promote' }), 5000, 60_000);
  await until('the other', () => c.heard().length === 2);
  c.link.beat(frameOf({ state: 'promote', term: 4 }), 5000, 60_000);
  await until('another', () => c.heard().length === 3);
  await pause(30);
  assert.equal(
    c.heard().map(({ state, term }) => `${state} ${term}`),
    ['protected 3', 'promote 3', 'promote 4'],
  );
  c.end();
});

beats('of the peer: told when the words are new, else kept', async () => {
  const c = await carried();
  assert.is(c.link.heardBeat(), null);
  for (let n = 1n; n <= 3n; n += 1n) c.peer.socket.write(frameOf({ counter: n }));
  c.peer.socket.write(goodbye);
  await until('the goodbye', () => c.t.frames.length === 2);
  assert.is(wordsOf(c.t.frames[0] as Buffer).counter, 1n);
  const last = c.link.heardBeat();
  assert.is(wordsOf(last?.frame as Buffer).counter, 3n);
  assert.ok(Math.abs(Number(last?.atNs) / 1e6 - Date.now()) < 2000);
  assert.is(c.link.heardBeat(), null);
  // What was kept is older than the next that is told.
  c.peer.socket.write(Buffer.concat([frameOf({ counter: 4n }), frameOf({ counter: 5n, term: 9 })]));
  await until('it is told', () => c.t.frames.length === 3);
  assert.is(wordsOf(c.t.frames[2] as Buffer).counter, 5n);
  assert.is(c.link.heardBeat(), null);
  c.end();
});

beats('one that is damaged, or none, is for who refuses it', async () => {
  const c = await carried();
  c.peer.socket.write(frameOf());
  const damaged = frameOf();
  damaged.writeUInt8(damaged.readUInt8(60) ^ 1, 60);
  const short = Buffer.from(goodbye);
  short.writeUInt16LE(FRAME.HEARTBEAT, 4);
  c.peer.socket.write(damaged);
  await until('both', () => c.t.frames.length === 2);
  assert.ok((c.t.frames[1] as Buffer).equals(damaged));
  assert.is(c.link.heardBeat(), null);
  c.end();
});

beats('before the hand-over, and after the end, a heartbeat is a frame', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const peer = await HandPeer.make();
  peer.start(t);
  assert.is(peer.far.beat(frameOf(), 10, 1000), false);
  assert.is(peer.far.heardBeat(), null);
  peer.giveTo(t);
  for (const [frame, every, long] of [
    [frameOf().subarray(0, 60), 10, 1000],
    [frameOf(), 0, 1000],
    [frameOf(), 10, 1e9],
  ] as const) {
    assert.is(
      codeOf(() => peer.far.beat(frame, every, long)),
      'ERR_OUT_OF_RANGE',
    );
  }
  peer.socket.resetAndDestroy();
  await until('it is lost', () => t.closed.length > 0);
  assert.is(peer.far.beat(frameOf(), 10, 1000), false);
  assert.is(peer.far.heardBeat(), null);
  assert.ok(peer.far.heardMs() > 0, 'when it was last heard is still known');
  ring.destroy();
  peer.close();
});

beats.run();
