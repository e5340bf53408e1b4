// SPDX-License-Identifier: Apache-2.0
/** State over a link, and every way to fail: pieces that lie, full disks, links that are lost. */
import { pbkdf2 } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, pause, until } from '../../bench/stand-ins/courier.ts';
import { StateReceiver, StateSender } from '../../native/kvm-exit-log/index.ts';
import { stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { errorCodeOf } from '../../src/base/errors.ts';
import { linkPair } from '../lib/link-pair.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { BLOCK, layOut, Taken, WHOLE } from '../lib/state-link.ts';
import { goodbye, Told } from '../lib/told.ts';
import { endWorkers } from '../lib/worker-end.ts';

const MIB = 1 << 20;
const slowHash = promisify(pbkdf2);

interface Context {
  dir: string;
}

const failing = suite<Context>('state that fails');
failing.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-state-'));
});
failing.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

/** A receiver for a disk of 100 blocks, full of 'o', and a file; frames by hand. */
async function byHand(dir: string, begins?: (taken: Taken) => void) {
  const peer = await HandPeer.make();
  const told = new Told();
  peer.far.start(told);
  const taken = new Taken(peer.far, begins);
  const disk = layOut(join(dir, 'disk'), 100 * BLOCK, [[0, 100, 0x6f]]);
  taken.add(disk, 10 * BLOCK, 'some');
  taken.add(join(dir, 'file'), BLOCK, 'whole');
  return { peer, told, taken, disk };
}

const block = Buffer.alloc(BLOCK, 'n');
const good = stateFrame({ ordinal: 0n, part: 0, offset: BigInt(BLOCK), data: block });

for (const [name, bad, why] of [
  ['damaged', Buffer.from(good).fill(1, 100, 101), /^peer-protocol .*is damaged: piece checksum/],
  ['repeated', Buffer.concat([good, good]), /^peer-protocol .*is repeated: number 0 after 0/],
  [
    'beyond its end, by one byte',
    stateFrame({ ordinal: 0n, part: 0, offset: BigInt(9 * BLOCK + 1), data: block }),
    /^peer-protocol .*is out of bounds: 32768 bytes at 294913 of part 0, which has 327680/,
  ],
  [
    'beyond its end, zeros',
    stateFrame({ ordinal: 0n, part: 0, offset: 0n, bytes: BigInt(10 * BLOCK + 1) }),
    /^peer-protocol .*is out of bounds/,
  ],
  [
    'of no part',
    stateFrame({ ordinal: 0n, part: 7, offset: 0n, data: block }),
    /^peer-protocol .*is of part 7: there are 2/,
  ],
  [
    'after a gap',
    stateFrame({ ordinal: 3n, part: 0, offset: 0n, data: block }),
    /^peer-protocol .*comes too early: number 3, 0 is missing/,
  ],
] as const) {
  failing(`a piece that is ${name} is named, and nothing else is touched`, async ({ dir }) => {
    const { peer, told, taken, disk } = await byHand(dir);
    peer.socket.write(bad);
    await until('it is refused', () => taken.failures.length === 1);
    assert.match(taken.failures[0] ?? '', why);
    // What was said before stays, what comes after is thrown away, and the link lives.
    peer.socket.write(Buffer.concat([good, goodbye]));
    await until('the link lives', () => told.frames.length === 1);
    assert.is(await taken.receiver.end(1n), false);
    const expected = Buffer.alloc(100 * BLOCK, 'o');
    if (name === 'repeated') block.copy(expected, BLOCK);
    assert.ok(readFileSync(disk).equals(expected));
    assert.is(taken.failures.length, 1);
    await taken.receiver.close();
    peer.close();
  });
}

failing('an oversized piece ends the link by name', async ({ dir }) => {
  const { peer, told, taken } = await byHand(dir);
  const prefix = Buffer.from(good.subarray(0, 16));
  prefix.writeUInt32LE(MIB + 80, 8);
  prefix.writeUInt32LE(crc32(prefix.subarray(0, 12)), 12);
  peer.socket.write(prefix);
  await until('the end', () => told.closes.length === 1);
  assert.match(told.closes[0] ?? '', /^peer-protocol: .*type 13 is oversized: at most 1048648/);
  await taken.receiver.close();
  peer.close();
});

failing('after a piece that fails, what is no frame ends the link by name', async ({ dir }) => {
  const { peer, told, taken } = await byHand(dir);
  // Nothing is written while the pool is busy: so much comes that the link is left unread.
  const busy = Array.from({ length: 4 }, () => slowHash('x', 'y', 1_500_000, 64, 'sha512'));
  const later = stateFrame({ ordinal: 1n, part: 0, offset: 0n, data: block });
  const many = Array.from({ length: 4 * (MIB / BLOCK) }, () => later);
  peer.socket.write(Buffer.concat([later, ...many, goodbye, Buffer.alloc(MIB, 0xff)]));
  await until('the peer has to wait', () => taken.receiver.pressed);
  assert.is(taken.failures.length, 0, 'the pool was not busy for long enough');
  // Once the pool is free: a host that is busy makes that longer.
  await until('the end', () => told.closes.length === 1, 30_000);
  assert.match(taken.failures[0] ?? '', /comes too early: number 1, 0 is missing/);
  assert.match(told.closes[0] ?? '', /^peer-protocol: the peer sent no frame of ours/);
  assert.is(told.frames.length, 1, 'what came before it was told');
  await Promise.all(busy);
  await taken.receiver.close();
  peer.close();
});

failing('what is missing is found at the end', async ({ dir }) => {
  const { peer, taken, disk } = await byHand(dir);
  peer.socket.write(good);
  await until('it is written', () => readFileSync(disk)[BLOCK] === 0x6e);
  assert.is(await taken.receiver.end(2n), false);
  assert.match(taken.failures[0] ?? '', 'pieces of state are missing: 2 were sent, 1 came');
  await taken.receiver.close();
  peer.close();
});

failing('a full disk is named with its part; the link lives', async ({ dir }) => {
  const { peer, told, taken } = await byHand(dir);
  taken.add('/dev/full', BLOCK, 'whole');
  peer.socket.write(good);
  peer.socket.write(stateFrame({ ordinal: 1n, part: 1, offset: 0n, data: block }));
  peer.socket.write(stateFrame({ ordinal: 2n, part: 2, offset: 0n, data: block }));
  await until('it fails', () => taken.failures.length === 1);
  assert.match(taken.failures[0] ?? '', /^ENOSPC 2: /);
  peer.socket.write(goodbye);
  await until('the link lives', () => told.frames.length === 1);
  await taken.receiver.close();
  peer.close();
});

failing('closed before its first byte, a part is not written to', async ({ dir }) => {
  const { peer, taken, disk } = await byHand(dir, ({ receiver }) => void receiver.close());
  peer.socket.write(good);
  await until('it begins', () => taken.begins.length === 1);
  await taken.receiver.close();
  assert.ok(readFileSync(disk).equals(Buffer.alloc(100 * BLOCK, 'o')));
  assert.equal(taken.failures, []);
  peer.close();
});

failing('once it is closed nothing is written any more', async ({ dir }) => {
  const { peer, taken, disk } = await byHand(dir);
  for (let at = 0n; at < 10n; at += 1n) {
    const data = Buffer.alloc(BLOCK, 'x');
    peer.socket.write(stateFrame({ ordinal: at, part: 0, offset: at * BigInt(BLOCK), data }));
  }
  await until('it begins', () => taken.begins.length === 1);
  await taken.receiver.close();
  const then = readFileSync(disk);
  await pause(50);
  assert.ok(readFileSync(disk).equals(then));
  assert.is(await taken.receiver.end(10n), false);
  peer.close();
});

failing('a file that is gone, has another length, or shrinks', async ({ dir }) => {
  const { a, b, drop } = await linkPair();
  const sender = new StateSender(a.link);
  const codeFor = (sent: Promise<boolean>): Promise<string | null> =>
    sent.then(
      () => null,
      (error: unknown) => errorCodeOf(error),
    );
  assert.is(await codeFor(sender.send(0, join(dir, 'none'), WHOLE, () => {})), 'ENOENT');
  const path = layOut(join(dir, 'here'), 30 * MIB, [[0, 960, 1]]);
  const have = new BigUint64Array(961);
  const other = sender.send(0, path, { blockBytes: BLOCK, have }, () => {});
  assert.is(await codeFor(other), 'EIO');
  const shrinks = sender.send(0, path, WHOLE, (done) => {
    if (done === MIB) truncateSync(path, 2 * MIB);
  });
  assert.is(await codeFor(shrinks), 'EIO');
  // It can still send what is there.
  assert.ok(await sender.send(0, layOut(join(dir, 'next'), 10, [[0, 1, 1]]), WHOLE, () => {}));
  sender.close();
  b.link.drop();
  drop();
});

failing('a link that is lost or ended in the middle, on either side', async ({ dir }) => {
  const path = layOut(join(dir, 'here'), 40 * MIB, [[0, 1280, 1]]);
  for (const end of ['a.drop', 'a.end', 'b.drop', 'b.end', 'close'] as const) {
    const { a, b, drop } = await linkPair();
    const taken = new Taken(b.link);
    taken.add(join(dir, 'there'), 40 * MIB, 'whole');
    const sender = new StateSender(a.link);
    const sent = sender.send(0, path, WHOLE, (done) => {
      if (done !== 8 * MIB) return;
      if (end === 'close') sender.close();
      else {
        const { link } = end.startsWith('a') ? a : b;
        if (end.endsWith('drop')) link.drop();
        else link.end();
      }
    });
    if (end !== 'close') {
      // Who drops a link by itself knows.
      await until(`${end}: the end`, () => a.told.closes.length + b.told.closes.length > 0);
      sender.close();
    }
    assert.is(await sent, false, end);
    assert.is(await sender.send(0, path, WHOLE, () => {}), false);
    assert.is(await taken.receiver.end(sender.pieces), false, end);
    await taken.receiver.close();
    drop();
  }
});

failing('a worker that ends, by itself or by force, in the middle of it', async ({ dir }) => {
  const path = layOut(join(dir, 'here'), 40 * MIB, [[0, 1280, 1]]);
  await endWorkers(
    ['terminate', 'exit', 'throw'],
    `const fd = require('node:fs').openSync(${JSON.stringify(join(dir, 'there'))}, 'w+');
     const near = new addon.Link();
     const listener = new addon.Listener('127.0.0.1', 0, () => {
       const far = new addon.Link();
       listener.accept(far);
       far.start(() => {});
       new addon.StateReceiver(far, () => {}).add(fd, ${40 * MIB}, true);
       setTimeout(() => {
         new addon.StateSender(near, () => up()).send(0, ${JSON.stringify(path)}, 32768);
       }, 50);
     });
     near.start(() => {});
     near.connect(['127.0.0.1'], listener.port());`,
  );
});

failing('a link that is over, or not ours any more, takes neither', async () => {
  const { a, b, drop } = await linkPair();
  const events = { begins() {}, failed() {} };
  a.link.end();
  b.link.drop();
  for (const { link } of [a, b]) {
    assert.is(
      codeOf(() => new StateSender(link)),
      'ERR_RING_STATE',
    );
    assert.is(
      codeOf(() => new StateReceiver(link, events)),
      'ERR_RING_STATE',
    );
  }
  drop();
});

failing.run();
