// SPDX-License-Identifier: Apache-2.0
/** Files that go over a link as state: what arrives, what is held back. (Faults: state-faults.) */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import {
  ExitRing,
  hashBlocks,
  StateReceiver,
  StateSender,
} from '../../native/kvm-exit-log/index.ts';
import { FRAME } from '../../src/log/frame.ts';
import { linkPair } from '../lib/link-pair.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { BLOCK, dot, layOut, type Run, Taken, WHOLE } from '../lib/state-link.ts';
import { goodbye, Told } from '../lib/told.ts';

const MIB = 1 << 20;

interface Context {
  dir: string;
}

const transfers = suite<Context>('state over a link');
transfers.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-state-'));
});
transfers.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

transfers('whole files arrive with their holes, and zeros become holes', async ({ dir }) => {
  const { a, b, passed, drop } = await linkPair();
  const files: [string, number, Run[]][] = [
    ['empty', 0, []],
    ['short', 5, [[0, 1, 7]]],
    ['odd', 3 * BLOCK + 13, [[0, 4, 9]]],
    [
      'mixed',
      150 * BLOCK,
      [
        [1, 2, 1],
        [3, 40, 0],
        [43, 1, 2],
        [100, 45, 3],
      ],
    ],
    ['hole', 40 * MIB, []],
    [
      'zero tail',
      4 * BLOCK + 9,
      [
        [0, 1, 1],
        [2, 3, 0],
      ],
    ],
    ['data', 5 * MIB + 1, [[0, 161, 5]]],
  ];
  const taken = new Taken(b.link);
  const sender = new StateSender(a.link);
  for (const [part, [name, bytes, runs]] of files.entries()) {
    const from = layOut(join(dir, name), bytes, runs);
    if (name === 'hole') dot(from, [5000, 9 * BLOCK + 8192, 21 * MIB - 5, 40 * MIB - 3]);
    const to = layOut(join(dir, `${name}.there`), bytes, []);
    taken.add(to, bytes, 'whole');
    const told: number[] = [];
    assert.is(await sender.send(part, from, WHOLE, (done) => told.push(done)), true);
    assert.is(told.at(-1) ?? 0, bytes, name);
  }
  await passed();
  assert.is(await taken.receiver.end(sender.pieces), true, taken.failures.join());
  for (const [name] of files) {
    const to = join(dir, `${name}.there`);
    assert.ok(readFileSync(join(dir, name)).equals(readFileSync(to)), name);
  }
  const blocksOf = (name: string): number => statSync(join(dir, `${name}.there`)).blocks * 512;
  assert.ok(blocksOf('mixed') < 60 * BLOCK, `${blocksOf('mixed')} bytes`);
  assert.ok(blocksOf('hole') <= 5 * BLOCK, `${blocksOf('hole')} bytes`);
  assert.equal(taken.begins, [1, 2, 3, 4, 5, 6], 'nothing of an empty file is written');
  assert.equal(taken.failures, []);
  await taken.receiver.close();
  sender.close();
  drop();
});

transfers('of an image only the blocks that differ are sent and written', async ({ dir }) => {
  const { a, b, passed, drop } = await linkPair();
  const bytes = 300 * BLOCK + 512;
  const from = layOut(join(dir, 'here'), bytes, [
    [0, 100, 1],
    [120, 2, 2],
    [140, 10, 0],
    [299, 2, 4],
  ]);
  const to = layOut(join(dir, 'there'), bytes, [
    [0, 50, 1],
    [50, 1, 9],
    [51, 49, 1],
    [130, 20, 6],
    [200, 1, 7],
    [299, 1, 4],
  ]);
  // Data that begin and end within a block, where the peer has a hole, and the other way round.
  dot(from, [205 * BLOCK + 4096, 207 * BLOCK + 20_000]);
  dot(to, [210 * BLOCK + 4096]);
  const have = await hashBlocks(to, BLOCK);
  const { mtimeMs } = statSync(from);
  const taken = new Taken(b.link);
  taken.add(to, bytes, 'some');
  const sender = new StateSender(a.link);
  assert.ok(await sender.send(0, from, { blockBytes: BLOCK, have }, () => {}));
  await passed();
  assert.ok(await taken.receiver.end(sender.pieces), taken.failures.join());
  assert.ok(readFileSync(to).equals(readFileSync(from)));
  assert.is(statSync(from).mtimeMs, mtimeMs, 'the source is only read');
  // Blocks 50, 120 f., 130 to 149, 200, 205, 207, 210, 300; more runs where a hole begins between them.
  assert.ok(sender.pieces >= 8n && sender.pieces <= 11n, `${sender.pieces} pieces`);
  assert.is(b.told.frames.length, 1, 'only ours comes to JavaScript');
  await taken.receiver.close();
  sender.close();
  drop();
});

transfers(
  'an image that is the same costs nothing, and its file is not touched',
  async ({ dir }) => {
    const { a, b, passed, drop } = await linkPair();
    const from = layOut(join(dir, 'here'), 40 * MIB, [[3, 700, 1]]);
    const have = await hashBlocks(from, BLOCK);
    const taken = new Taken(b.link);
    taken.add(layOut(join(dir, 'there'), 40 * MIB, []), 40 * MIB, 'some');
    const sender = new StateSender(a.link);
    const told: number[] = [];
    assert.ok(await sender.send(0, from, { blockBytes: BLOCK, have }, (done) => told.push(done)));
    assert.is(told.at(-1), 40 * MIB);
    assert.is(sender.pieces, 0n);
    await passed();
    assert.ok(await taken.receiver.end(0n));
    assert.equal(taken.begins, []);
    await taken.receiver.close();
    sender.close();
    drop();
  },
);

transfers(
  'other frames pass between, both ways, and the link goes to a courier after',
  async ({ dir }) => {
    const { a, b, drop } = await linkPair();
    const from = layOut(join(dir, 'here'), 20 * MIB, [[0, 640, 3]]);
    const taken = new Taken(b.link);
    taken.add(join(dir, 'there'), 20 * MIB, 'whole');
    const sender = new StateSender(a.link);
    let said = 0;
    let atLast = 0;
    const sent = sender.send(0, from, WHOLE, () => {
      said += 1;
      a.link.send(goodbye);
      b.link.send(goodbye);
      atLast = b.told.frames.length;
    });
    assert.is(
      codeOf(() => new StateSender(a.link)),
      'ERR_RING_STATE',
    );
    assert.is(
      codeOf(() => new StateReceiver(b.link, { begins() {}, failed() {} })),
      'ERR_RING_STATE',
    );
    const ring = new ExitRing();
    const t = new TestCourier(ring);
    assert.is(
      codeOf(() => t.courier.attach(a.link)),
      'ERR_RING_STATE',
    );
    assert.ok(await sent);
    assert.ok(said >= 20, `${said} times`);
    assert.ok(atLast > 5, `${atLast} came while it was sent`);
    await until('all that was said', () => b.told.frames.length === said);
    assert.ok(await taken.receiver.end(sender.pieces), taken.failures.join());
    await until('and the other way', () => a.told.frames.length === said);
    assert.ok([...a.told.frames, ...b.told.frames].every((frame) => frame.equals(goodbye)));
    sender.close();
    await taken.receiver.close();
    t.courier.attach(a.link);
    b.link.send(goodbye);
    a.link.send(goodbye);
    await until('over the courier', () => b.told.frames.length === said + 1);
    await until('and back', () => a.told.frames.length === said + 1);
    t.courier.destroy();
    ring.destroy();
    drop();
  },
);

transfers('who does not read is sent a few MiB, and what waits is bounded', async ({ dir }) => {
  const peer = await HandPeer.make();
  peer.far.start(new Told());
  peer.socket.pause();
  const from = layOut(join(dir, 'here'), 48 * MIB, [[0, 1536, 3]]);
  const sender = new StateSender(peer.far);
  let done = 0;
  const sent = sender.send(0, from, WHOLE, (bytes) => {
    done = bytes;
  });
  const before = process.memoryUsage().rss;
  await pause(500);
  const stopped = done;
  await pause(200);
  assert.is(done, stopped, 'it waits');
  // Some of it is with the kernel.
  assert.ok(done > 0 && done < 24 * MIB, `${done} bytes`);
  assert.ok(process.memoryUsage().rss - before < 32 * MIB);
  peer.socket.resume();
  assert.ok(await sent);
  await until('all of it', () => peer.frames.length === 48);
  assert.ok(peer.frames.every(({ type }) => type === FRAME.STATE));
  sender.close();
  peer.close();
});

transfers.run();
