// SPDX-License-Identifier: Apache-2.0
/**
 * Memory of epochs, from QEMU's ring to an image: what is sent of it is what the backup does not
 * have, and the image is the guest's memory at each cut.
 */
import { randomBytes } from 'node:crypto';
import { readSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, Image } from '../../native/kvm-exit-log/index.ts';
import { Epochs, GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { Random } from '../../src/lab/random.ts';
import { FRAME } from '../../src/log/frame.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { blocks, CutGuest, notify, PAGE, PAGES, PART, page } from '../lib/image-epochs.ts';

const MIB = 1 << 20;
const HEAD = 88;
/** struct exitlog_cut_digest */
const CUT_DIGEST_BYTES = 48;
const SHIPPED_AT = 40;
const memory = suite('memory of epochs');

const SEAL = { ...SHIP.seal, atCuts: true };

function cutRing(stateBytes = MIB) {
  const ring = new GuestRing({ recordSlots: 4096, dataBytes: MIB, stateBytes });
  return { ring, guest: new CutGuest(ring) };
}

/** A guest whose STATE frames come to a peer by hand. */
async function sending(stateBytes = MIB) {
  const { ring, guest } = cutRing(stateBytes);
  const t = new TestCourier(ring);
  const dir = tempDir('patches');
  const file = new LogFile(join(dir, 'log'), WRITER);
  t.courier.ship({ ...SHIP, seal: SEAL, log: file.start });
  const peer = await HandPeer.make();
  peer.giveTo(t);
  guest.begin();
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
    file.close();
  };
  /** Cuts; the epoch's frames of a part: where, how much it is of, how many bytes that takes. */
  const cut = async (part: number = PART.RAM): Promise<[number, number, number][]> => {
    const before = peer.frames.length;
    const { length } = peer.batches;
    guest.cut();
    notify(ring);
    await until('the epoch is sent', () => peer.batches.length > length);
    const frames = peer.frames.slice(before).filter(({ type }) => type === FRAME.STATE);
    return frames
      .filter(({ buffer }) => buffer.readUInt32LE(48) === part)
      .map(({ buffer, length }) => [
        Number(buffer.readBigUInt64LE(56)),
        Number(buffer.readBigUInt64LE(64)),
        length - HEAD,
      ]);
  };
  return { ring, dir, t, peer, guest, cut, end };
}

const ram = (at: number, data: Buffer) => ({ part: PART.RAM, offset: at * PAGE, data });

memory('a page goes whole once, then what differs, then nothing', async () => {
  const s = await sending();
  const one = Buffer.from(page('a'));
  s.guest.put(ram(3, one));
  assert.equal(await s.cut(), [[3 * PAGE, PAGE, PAGE + 8]]);
  one.write('bcd', 100);
  s.guest.put(ram(3, one));
  assert.equal(await s.cut(), [[3 * PAGE, PAGE, 8]]);
  s.guest.put(ram(3, one));
  assert.equal(await s.cut(), []);
  s.end();
});

memory(
  'pages of a block are one frame, however far apart, and what goes back begins another',
  async () => {
    const s = await sending();
    const two = Buffer.concat([page('b'), page('c')]);
    s.guest.put(ram(0, page('a')), ram(1, two), ram(9, page('d')));
    assert.equal(await s.cut(), [[0, 10 * PAGE, 4 * (PAGE + 4)]]);
    s.guest.put(ram(4, page('e')), ram(2, page('f')));
    assert.equal(await s.cut(), [
      [4 * PAGE, PAGE, PAGE + 8],
      [2 * PAGE, PAGE, PAGE + 8],
    ]);
    s.end();
  },
);

memory('a page of zeros is known as such', async () => {
  const s = await sending();
  s.guest.put(ram(5, page('a')));
  await s.cut();
  s.guest.put({ part: PART.RAM, offset: 5 * PAGE, bytes: PAGE });
  assert.equal(await s.cut(), [[5 * PAGE, PAGE, 0]]);
  const one = Buffer.alloc(PAGE);
  one[7] = 1;
  s.guest.put(ram(5, one));
  assert.equal(await s.cut(), [[5 * PAGE, PAGE, 8]]);
  s.end();
});

memory('another image begins with nothing', async () => {
  const s = await sending();
  s.guest.put(ram(5, page('a')));
  await s.cut();
  s.guest.begin();
  s.guest.put(ram(5, page('a')));
  assert.equal(await s.cut(), [[5 * PAGE, PAGE, PAGE + 8]]);
  s.end();
});

memory('devices go whole once, then what differs, however long they are', async () => {
  const s = await sending();
  const noise = randomBytes(3 * PAGE);
  s.guest.devices = Buffer.from(noise.subarray(0, 2 * PAGE + 100));
  const long = s.guest.devices.length;
  const cut = () => s.cut(PART.DEVICES);
  const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;
  assert.equal(await cut(), [[0, long, padded(long)]]);
  s.guest.devices[PAGE + 9] = (noise[PAGE + 9] ?? 0) ^ 1;
  assert.equal(await cut(), [[0, long, 8]]);
  s.guest.devices = s.guest.devices.subarray(0, PAGE);
  assert.equal(await cut(), [[0, PAGE, padded(PAGE)]], 'no patch has nothing');
  s.guest.devices = Buffer.concat([s.guest.devices, Buffer.from('eight, 8')]);
  assert.equal(await cut(), [[0, PAGE + 8, 16]]);
  // None of which a byte is as it was.
  s.guest.devices = Buffer.from(s.guest.devices.map((byte) => byte ^ 0x55));
  assert.equal(await cut(), [[0, PAGE + 8, PAGE + 8]]);
  s.guest.begin();
  assert.equal(await cut(), [[0, PAGE + 8, PAGE + 8]], 'another image has none');
  s.end();
});

memory('what is known of the backup is bounded, and what is no more goes whole', async () => {
  const s = await sending(128 * MIB);
  // Nothing that could be packed.
  const noise = randomBytes(MIB);
  for (let at = 0; at < 100; at += 1) s.guest.put(ram(at * 256, noise));
  await s.cut();
  const { shadowBytes, memoryPages, memoryBytes, bytes } = s.t.courier.shipFacts().state;
  assert.is(shadowBytes, 64 * MIB);
  assert.is(memoryPages, 100 * 256);
  assert.ok(memoryBytes > 100 * MIB && bytes > memoryBytes && bytes < memoryBytes + 2000);
  for (const at of [0, 99]) s.guest.put(ram(at * 256, noise));
  const sent = (await s.cut()).reduce((sum, [, , length]) => sum + length, 0);
  assert.ok(sent > MIB && sent < MIB + 2000, `${sent} bytes: the last one is known`);
  s.end();
});

/** A guest with a backup, and an image that gets all of it whole, to compare with. */
async function paired() {
  const s = cutRing();
  const whole = cutRing();
  const dir = tempDir('patches-pair');
  const near = new TestCourier(s.ring);
  const log = new LogFile(join(dir, 'near'), WRITER);
  near.courier.ship({ ...SHIP, seal: SEAL, log: log.start });
  const ring = new ExitRing();
  const far = new TestCourier(ring);
  const image = new Image(PAGES * PAGE, [], false);
  const farLog = new LogFile(join(dir, 'far'), WRITER);
  far.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: farLog.start, image });
  const peer = await HandPeer.make();
  peer.giveTo(near);
  await peer.giveNearTo(far);
  const epochs = new Epochs(whole.ring);
  const end = (): void => {
    near.courier.destroy();
    far.courier.destroy();
    for (const one of [s.ring, whole.ring, ring]) one.destroy();
    image.release();
    peer.close();
    log.close();
    farLog.close();
  };
  /** Cuts, with a digest of the image that got everything whole. @returns the backup's memory */
  const cut = async (number: bigint): Promise<Buffer> => {
    whole.guest.cut();
    const taken = epochs.take();
    assert.is(taken?.number, number);
    const digest = Buffer.alloc(CUT_DIGEST_BYTES);
    digest.writeBigUInt64LE(taken?.ramDigest ?? 0n, 8);
    digest.writeBigUInt64LE(taken?.devicesDigest ?? 0n, SHIPPED_AT);
    s.guest.record(KIND.DIGEST, digest);
    s.guest.cut();
    notify(s.ring);
    await until(
      `epoch ${number} is applied and compared`,
      () => far.courier.receiveFacts().imageCompared === Number(number) || far.broken.length > 0,
    );
    assert.equal([far.broken, far.closed, far.failed], [[], [], []]);
    const bytes = Buffer.alloc(PAGES * PAGE);
    readSync(image.memoryFd, bytes, 0, bytes.length, 0);
    return bytes;
  };
  return { guests: [s.guest, whole.guest], near, cut, end };
}

memory('the image is the memory at each cut, by its bytes and by its digest', async () => {
  const random = new Random(4);
  const s = await paired();
  const all = Buffer.alloc(PAGES * PAGE);
  const noise = randomBytes(10_000);
  const put = (at: number, count: number): void => {
    const data = all.subarray(at * PAGE, (at + count) * PAGE);
    const isZero = data.every((byte) => byte === 0);
    for (const guest of s.guests) {
      if (isZero) guest.put({ part: PART.RAM, offset: at * PAGE, bytes: count * PAGE });
      else guest.put({ part: PART.RAM, offset: at * PAGE, data });
    }
  };
  for (const guest of s.guests) guest.begin();
  for (let number = 1n; number <= 150n; number += 1n) {
    // Its ACPI tables grow: what counts of the block does, once with a page, once before it.
    const used = number < 50n ? PAGES - 4 : PAGES;
    if (number === 1n || number === 50n) {
      const text = blocks();
      text.writeBigUInt64LE(BigInt(used * PAGE), 264);
      for (const guest of s.guests) guest.put({ part: PART.BLOCKS, data: text });
    }
    // Some pages more than once in an epoch.
    for (let n = random.below(12); n > 0; n -= 1) {
      const at = random.below(used);
      const count = Math.min(1 + random.below(3), used - at);
      const here = all.subarray(at * PAGE, (at + count) * PAGE);
      const becomes = random.below(16);
      if (becomes < 2) here.fill(0);
      else if (becomes < 4) here.fill(1 + random.below(255));
      for (let writes = random.below(30); writes > 0; writes -= 1) {
        here[random.below(here.length)] = random.below(256);
      }
      put(at, count);
    }
    const devices = Buffer.from(noise.subarray(0, 5000 + random.below(5000)));
    for (let n = random.below(8); n > 0; n -= 1) devices[random.below(devices.length)] = 0;
    for (const guest of s.guests) guest.devices = devices;
    assert.ok((await s.cut(number)).equals(all), `epoch ${number}`);
  }
  const { memoryBytes, memoryPages } = s.near.courier.shipFacts().state;
  assert.ok(memoryBytes < (memoryPages * PAGE) / 2, `${memoryBytes} of ${memoryPages} pages`);
  s.end();
});

memory.run();
