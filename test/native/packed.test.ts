// SPDX-License-Identifier: Apache-2.0
/** Patches that are packed, because the link is slow: right, or refused by name. */
import { readSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pause, until } from '../../bench/stand-ins/courier.ts';
import { pack, patchOf } from '../../native/kvm-exit-log/testing.ts';
import { Random } from '../../src/lab/random.ts';
import { EpochSender, PAGE, PAGES, PART, type PieceOf, page } from '../lib/image-epochs.ts';
import { imageReceiver } from '../lib/image-receiver.ts';

const packed = suite('packed patches');
const MIB = 1 << 20;

/** Page 1 becomes this, by a patch that is packed. */
function packedPage(now: Buffer, change: (bytes: Buffer) => Buffer = (bytes) => bytes): PieceOf {
  const data = change(pack(patchOf(Buffer.alloc(PAGE), now)));
  const at = { part: PART.RAM, offset: PAGE, bytes: PAGE };
  return { ...at, data, isPatch: true, isPacked: true };
}

packed('what is packed is what it was, and shorter', async () => {
  const { t, peer, image, end } = await imageReceiver('packed');
  const sender = new EpochSender();
  const now = Buffer.alloc(PAGE, 'some words of it; ');
  const piece = packedPage(now);
  assert.ok((piece.data?.length ?? PAGE) < 100, `${piece.data?.length} bytes`);
  peer.socket.write(sender.whole([piece], 'one'));
  await until('it is applied', () => t.courier.receiveFacts().imageEpoch === 1n);
  const bytes = Buffer.alloc(PAGES * PAGE);
  readSync(image.memoryFd, bytes, 0, bytes.length, 0);
  assert.ok(bytes.subarray(PAGE, 2 * PAGE).equals(now));
  assert.ok(bytes.subarray(2 * PAGE).equals(Buffer.alloc((PAGES - 2) * PAGE)));
  end();
});

packed('what would not become shorter is not packed', () => {
  const random = new Random(3);
  const noise = Buffer.from(Uint8Array.from({ length: 100 }, () => random.below(256)));
  assert.is(pack(noise).length, 0);
  assert.is(pack(Buffer.alloc(0)).length, 0);
});

/** zstd's frame says how long its content is in the bytes after its magic number. */
const WRONG: readonly (readonly [string, PieceOf, RegExp])[] = [
  ['no frame', packedPage(page('x'), () => Buffer.from('nothing!')), /packed data of no length/],
  ['cut short', packedPage(page('x'), (all) => all.subarray(0, -1)), /cannot be unpacked/],
  [
    'damaged',
    packedPage(page('x'), (all) => {
      all[all.length - 3] = (all[all.length - 3] ?? 0) ^ 0xff;
      return all;
    }),
    /cannot be unpacked|packed data of|a patch /,
  ],
  [
    'longer than any piece',
    packedPage(page('x'), () => pack(Buffer.alloc(64 * MIB))),
    /packed data of no length/,
  ],
  ['of no patch', packedPage(page('x'), () => pack(Buffer.alloc(100))), /an empty run/],
  [
    'not of a patch',
    { part: PART.RAM, offset: PAGE, data: pack(page('x')), isPacked: true },
    /damaged piece of state|another length|memory that its block/,
  ],
];

for (const [what, piece, why] of WRONG) {
  packed(`what is ${what} is refused by name`, async () => {
    const { t, peer, end } = await imageReceiver('packed-wrong');
    const sender = new EpochSender();
    peer.socket.write(sender.whole([], 'one'));
    await until('the first is applied', () => t.courier.receiveFacts().imageEpoch === 1n);
    peer.socket.write(sender.state(piece));
    await until('it is refused', () => t.closed.length > 0);
    assert.match(t.closed[0] ?? '', /^peer-protocol: /);
    assert.match(t.closed[0] ?? '', why);
    assert.equal([t.broken, t.failed], [[], []]);
    end();
  });
}

packed('no bytes whatever end the process', async () => {
  const random = new Random(11);
  for (let n = 0; n < 60; n += 1) {
    const { t, peer, end } = await imageReceiver('packed-fuzz');
    const sender = new EpochSender();
    const damage = (all: Buffer): Buffer => {
      for (let at = 0; at <= n % 4; at += 1) all[random.below(all.length)] = random.below(256);
      return all;
    };
    const now = Buffer.from(Uint8Array.from({ length: PAGE }, () => random.below(3)));
    peer.socket.write(sender.whole([packedPage(now, damage)], 'one'));
    const isOver = (): boolean => t.closed.length > 0 || t.console === 'one';
    await until('it is taken or refused', isOver);
    assert.equal([t.broken, t.failed], [[], []]);
    end();
  }
  await pause(0);
});

packed.run();
