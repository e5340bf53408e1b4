// SPDX-License-Identifier: Apache-2.0
/** A link on the event loop: before there is a courier, and as it goes to one. */
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { ExitRing, Link } from '../../native/kvm-exit-log/index.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { bigGoodbye, goodbye, nowMs, Told } from '../lib/told.ts';

/** A link that was accepted, and a peer by hand. */
async function accepted() {
  const peer = await HandPeer.make();
  const told = new Told();
  return { peer, link: peer.far, told };
}

const loop = suite('on the event loop');

loop('frames come whole and once, however they are cut', async () => {
  const { peer, link, told } = await accepted();
  link.start(told);
  const bytes = Buffer.concat([goodbye, goodbye, goodbye]);
  for (let at = 0; at < bytes.length; at += 7) {
    peer.socket.write(bytes.subarray(at, at + 7));
    if (at % 5 === 0) await pause(1);
  }
  await until('all', () => told.frames.length === 3);
  assert.ok(told.frames.every((frame) => frame.equals(goodbye)));
  peer.socket.end(goodbye.subarray(0, 20));
  await until('the end', () => told.closes.length === 1);
  assert.match(told.closes[0] ?? '', /^peer-lost: .*in the middle of a frame \(20 of \d+ bytes\)$/);
  peer.close();
});

loop('what came before it started is not lost', async () => {
  const { peer, link, told } = await accepted();
  peer.socket.end(goodbye);
  await pause(20);
  assert.equal(told.frames, []);
  link.start(told);
  await until('the end', () => told.closes.length === 1);
  assert.is(told.frames.length, 1);
  assert.is(
    codeOf(() => link.start(told)),
    'ERR_RING_STATE',
  );
  peer.close();
});

loop('a reset is named', async () => {
  const { peer, link, told } = await accepted();
  link.start(told);
  await pause(5);
  peer.socket.resetAndDestroy();
  await until('the end', () => told.closes.length === 1);
  assert.equal(told.closes, ['peer-lost: connection error ECONNRESET']);
});

loop('a handler that drops the link, that throws', async () => {
  const { peer, link, told } = await accepted();
  let seen = 0;
  link.start({
    frame: () => {
      seen += 1;
      link.drop();
    },
    closed: (code, message) => told.closed(code, message),
    drained: () => {},
  });
  peer.socket.write(Buffer.concat([goodbye, goodbye]));
  await until('the peer sees the end', () => peer.ended);
  assert.is(seen, 1);
  assert.equal(told.closes, []);
  peer.close();

  const other = await accepted();
  const thrown = once(process, 'uncaughtException');
  other.link.start({
    frame: () => {
      throw new Error('in a handler');
    },
    closed: (code, message) => other.told.closed(code, message),
    drained: () => {},
  });
  other.peer.socket.write(goodbye);
  const [error] = (await thrown) as [Error];
  assert.is(error.message, 'in a handler');
  other.peer.close();
});

loop('a slow reader is told of, drains, and gets all before the end', async () => {
  const { peer, link, told } = await accepted();
  link.start(told);
  peer.socket.pause();
  const fill = (): number => {
    for (let n = 1; n < 400; n++) if (!link.send(bigGoodbye)) return n;
    throw new Error('the queue is never long');
  };
  const first = fill();
  await pause(30);
  assert.is(told.drains, 0);
  peer.socket.resume();
  await until('it drains', () => told.drains === 1);
  await until('all of it', () => peer.frames.length === first);
  peer.socket.pause();
  const second = fill();
  link.end();
  assert.equal(told.closes, []);
  peer.socket.resume();
  await until('the rest, and the end', () => peer.ended);
  assert.is(peer.frames.length, first + second);
  await until('it is told', () => told.closes.length === 1);
  assert.equal(told.closes, ['peer-lost: the connection closed']);
  peer.close();
});

loop('one that reads nothing keeps us for a second only', async () => {
  const { peer, link, told } = await accepted();
  link.start(told);
  peer.socket.pause();
  while (link.send(Buffer.alloc(1 << 20)));
  const fromMs = nowMs();
  link.end();
  await until('it is told', () => told.closes.length === 1);
  assert.ok(nowMs() - fromMs > 900, `${nowMs() - fromMs} ms`);
  peer.close();
});

loop.run();

const over = suite('to a courier');

over('from inside a frame, with the rest of what was read', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const { peer, link } = await accepted();
  link.start({
    ...t.linkEvents,
    frame: (frame) => {
      if (t.frames.push(frame) === 1) t.courier.attach(link);
    },
  });
  peer.socket.write(Buffer.concat([goodbye, goodbye, goodbye.subarray(0, 30)]));
  await until('the second', () => t.frames.length === 2);
  peer.socket.write(goodbye.subarray(30));
  await until('the third', () => t.frames.length === 3);
  assert.ok(t.frames.every((frame) => frame.equals(goodbye)));
  t.courier.destroy();
  await until('the peer sees the end', () => peer.ended);
  assert.equal([t.closed, link.heardMs(), link.send(goodbye)], [[], 0, true]);
  ring.destroy();
  peer.close();
});

over('with a queue that is long', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const { peer, link, told } = await accepted();
  link.start(told);
  peer.socket.pause();
  let sent = 1;
  while (link.send(bigGoodbye)) sent += 1;
  t.courier.attach(link);
  await pause(20);
  assert.is(told.drains, 0);
  peer.socket.resume();
  await until('all of it', () => peer.frames.length === sent);
  await until('it is told', () => told.drains === 1);
  link.end();
  await until('it is told', () => told.closes.length === 1);
  // The peer's end may come first.
  assert.match(told.closes[0] ?? '', /^peer-lost: the (connection|peer) closed/);
  t.courier.destroy();
  ring.destroy();
  peer.close();
});

over('what died a moment ago is told once, by name', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  for (const how of ['end', 'reset'] as const) {
    const { peer, link, told } = await accepted();
    link.start(told);
    await pause(5);
    if (how === 'end') peer.socket.end(goodbye);
    else peer.socket.resetAndDestroy();
    // Both happen while JavaScript looks away.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    t.courier.attach(link);
    await until('it is told', () => told.closes.length === 1);
    assert.is(told.frames.length, how === 'end' ? 1 : 0);
    assert.match(told.closes[0] ?? '', how === 'end' ? /the peer closed/ : /ECONNRESET/);
    assert.is(
      codeOf(() => t.courier.attach(link)),
      'ERR_RING_STATE',
    );
    peer.close();
  }
  t.courier.destroy();
  ring.destroy();
});

over('only one that is connected, has started, and is not over', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const code = (link: Link): string => codeOf(() => t.courier.attach(link));
  const { peer, link, told } = await accepted();
  assert.is(code(link), 'ERR_RING_STATE', 'not started');
  link.start(told);
  link.end();
  assert.is(code(link), 'ERR_RING_STATE', 'ending');
  await until('it is told', () => told.closes.length === 1);
  assert.is(code(link), 'ERR_RING_STATE', 'over');
  const dialing = Link.to('127.0.0.1', 1);
  dialing.start(told);
  assert.is(code(dialing), 'ERR_RING_STATE', 'not connected');
  dialing.drop();
  const good = await HandPeer.make();
  good.giveTo(t);
  assert.is(code(good.far), 'ERR_RING_STATE', 'carried already');
  good.socket.write(goodbye);
  await until('a frame', () => t.frames.length === 1);
  t.courier.destroy();
  ring.destroy();
  for (const it of [peer, good]) it.close();
});

over.run();
