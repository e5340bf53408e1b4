// SPDX-License-Identifier: Apache-2.0
/** Disk writes that refer to memory: what comes to a backup's disk, and what is refused. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../bench/stand-ins/courier.ts';
import { abiFacts } from '../../bench/stand-ins/fake-qemu.ts';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { redoDisks } from '../../native/kvm-exit-log/index.ts';
import { Epochs, GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { afterOne, DISK, receiving } from '../lib/image-backup.ts';
import { BEFORE, CutGuest, PAGE, PAGES, PART, page, reference } from '../lib/image-epochs.ts';

const references = suite('references');
const MIB = 1 << 20;
const SECTOR = 512;
const DISK_BYTES = 8 * PAGE;

/** An image after an epoch in which its first two pages were written, and its disk. */
function vm() {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: 8 * MIB });
  const disk = join(tempDir('references'), 'disk.raw');
  writeFileSync(disk, Buffer.alloc(DISK_BYTES, 'd'));
  const image = new Epochs(ring, { memoryBytes: 0, disks: [disk] });
  const guest = new CutGuest(ring);
  guest.begin();
  guest.put({ part: PART.RAM, data: Buffer.concat([page('a'), page('b')]) });
  guest.cut();
  assert.is(image.take()?.number, 1n);
  const refer = (...all: readonly Buffer[]): void =>
    guest.put({ part: PART.REFERENCES, data: Buffer.concat(all) });
  const expected = Buffer.alloc(DISK_BYTES, 'd');
  const check = (): void => {
    assert.ok(readFileSync(disk).equals(Buffer.alloc(DISK_BYTES, 'd')), 'nothing before its end');
    guest.cut();
    assert.ok(image.take() !== null);
    assert.ok(readFileSync(disk).equals(expected), 'what the disk has');
  };
  return { ring, image, guest, disk, refer, expected, check };
}

references('the struct is as C has it', () => {
  const facts = abiFacts();
  assert.is(facts['sizeof.exitlog_reference'], reference({}).length);
  assert.is(facts.PART_REFERENCES, PART.REFERENCES);
  assert.is(facts.REFERENCE_BEFORE, BEFORE);
});

references('memory as the epoch before has left it, though this one changes it', () => {
  const s = vm();
  s.guest.put({ part: PART.RAM, data: page('x') });
  s.refer(reference({ offset: PAGE, at: SECTOR, bytes: PAGE, flags: BEFORE }));
  s.guest.put({ part: PART.RAM, offset: PAGE, data: page('y') });
  s.expected.fill('a', PAGE, 2 * PAGE - SECTOR).fill('b', 2 * PAGE - SECTOR, 2 * PAGE);
  s.check();
});

references('memory as this epoch leaves it, whatever comes first', () => {
  const s = vm();
  s.refer(reference({ offset: SECTOR, at: PAGE - SECTOR, bytes: 3 * PAGE }));
  s.guest.put({ part: PART.RAM, offset: PAGE, data: Buffer.concat([page('x'), page('y')]) });
  s.guest.put({ part: PART.RAM, offset: 3 * PAGE, bytes: PAGE });
  s.expected
    .fill('a', SECTOR, 2 * SECTOR)
    .fill('x', 2 * SECTOR, 2 * SECTOR + PAGE)
    .fill('y', 2 * SECTOR + PAGE, 2 * SECTOR + 2 * PAGE)
    .fill(0, 2 * SECTOR + 2 * PAGE, SECTOR + 3 * PAGE);
  s.check();
});

references('a page that comes twice is what came last', () => {
  const s = vm();
  s.guest.put({ part: PART.RAM, data: Buffer.concat([page('x'), page('y')]) });
  s.refer(reference({ at: PAGE }));
  s.guest.put({ part: PART.RAM, offset: PAGE, data: page('z') });
  s.expected.fill('z', 0, PAGE);
  s.check();
});

references('pages that are not changed, and pages out of order', () => {
  const s = vm();
  s.guest.put({ part: PART.RAM, offset: 5 * PAGE, data: page('5') });
  s.guest.put({ part: PART.RAM, offset: 3 * PAGE, data: page('3') });
  s.refer(reference({ at: 5 * PAGE }), reference({ offset: PAGE }));
  s.refer(reference({ offset: 2 * PAGE, at: 2 * PAGE, bytes: 2 * PAGE }));
  s.expected
    .fill('5', 0, PAGE)
    .fill('a', PAGE, 2 * PAGE)
    .fill(0, 2 * PAGE, 3 * PAGE);
  s.expected.fill('3', 3 * PAGE, 4 * PAGE);
  s.check();
});

references('writes to one place are made in their order, of whatever kind they are', () => {
  const s = vm();
  s.guest.put({ part: PART.RAM, data: page('x') });
  const before = (sector: number): Buffer =>
    reference({ offset: sector * SECTOR, at: PAGE, bytes: 4 * SECTOR, flags: BEFORE });
  s.guest.put({ part: PART.DISK, data: Buffer.alloc(3 * SECTOR, '1') });
  s.refer(before(1), reference({ offset: 3 * SECTOR, bytes: SECTOR }));
  s.guest.put({ part: PART.DISK, offset: 4 * SECTOR, bytes: 2 * SECTOR });
  s.refer(reference({ offset: 5 * SECTOR, bytes: SECTOR }), before(6));
  s.guest.put({ part: PART.DISK, offset: 7 * SECTOR, data: Buffer.alloc(SECTOR, '2') });
  s.expected.write('1', 0, 'latin1');
  const fill = (text: string | number, ...sectors: readonly number[]): void => {
    for (const one of sectors) s.expected.fill(text, one * SECTOR, (one + 1) * SECTOR);
  };
  fill('1', 0);
  fill('b', 1, 2, 6, 8, 9);
  fill('x', 3, 5);
  fill(0, 4);
  fill('2', 7);
  s.check();
});

references('what is referred to is in the journal, and redone from there', async () => {
  const s = await receiving({ durable: true });
  const sender = await afterOne(s);
  s.peer.socket.write(
    sender.whole(
      [
        { part: PART.RAM, data: page('2') },
        {
          part: PART.REFERENCES,
          data: Buffer.concat([
            reference({ offset: 0 }),
            reference({ offset: PAGE, flags: BEFORE }),
            reference({ offset: 2 * PAGE - SECTOR, at: PAGE - SECTOR, bytes: 2 * SECTOR }),
          ]),
        },
      ],
      'two',
    ),
  );
  await until('it is applied', () => s.memory(0) === '2' && s.t.console === 'onetwo');
  const expected = Buffer.from(DISK)
    .fill('2', 0, PAGE)
    .fill('1', PAGE, 2 * PAGE);
  expected.fill('2', 2 * PAGE - SECTOR, 2 * PAGE).fill(0, 2 * PAGE, 2 * PAGE + SECTOR);
  assert.ok(readFileSync(s.disk).equals(expected));
  const journal = readFileSync(`${s.disk}.journal`);
  await s.stored();
  s.end();
  // As if its process had died before it wrote to the disk; its memory is gone.
  writeFileSync(s.disk, DISK, { flag: 'r+' });
  writeFileSync(`${s.disk}.journal`, journal);
  assert.is(redoDisks([s.disk])?.last, 2);
  assert.ok(readFileSync(s.disk).equals(expected));
});

const HALF = reference({}).subarray(0, 12);
const MEMORY = PAGES * PAGE;
const BAD: readonly (readonly [string, Buffer, RegExp])[] = [
  ['to no block', reference({ block: 1 }), /memory that block 1 does not have/],
  ['beyond its block', reference({ at: MEMORY - SECTOR }), /memory that block 0 does not have/],
  ['whose place overflows', reference({ at: 2n ** 64n - 1n }), /block 0 does not have/],
  ['of more than there is', reference({ bytes: MEMORY + 1 }), /end of disk|does not have/],
  ['of nothing', reference({ bytes: 0 }), /a reference that is none/],
  ['of another kind', reference({ flags: 2 }), /a reference that is none/],
  ['to no disk', reference({ disk: 1 }), /a write to disk 1/],
  ['beyond its disk', reference({ offset: DISK_BYTES - SECTOR }), /beyond the end of disk 0/],
  ['whose end on the disk overflows', reference({ offset: 2n ** 64n - 1n }), /end of disk 0/],
  ['that is cut off', HALF, /references that are none/],
];

for (const [what, bad, why] of BAD) {
  references(`a reference ${what} is refused, and nothing is written`, () => {
    const s = vm();
    s.refer(reference({}));
    s.refer(bad);
    assert.throws(() => s.image.take(), why);
    assert.ok(readFileSync(s.disk).equals(Buffer.alloc(DISK_BYTES, 'd')));
  });
}

references('references elsewhere, or without data, are refused', () => {
  const elsewhere = vm();
  elsewhere.guest.put({ part: PART.REFERENCES, offset: 24, data: reference({}) });
  assert.throws(() => elsewhere.image.take(), /references that are none/);
  const none = vm();
  none.guest.put({ part: PART.REFERENCES, bytes: 24 });
  assert.throws(() => none.image.take(), /references that are none/);
});

references('the first epoch has nothing to refer to', () => {
  const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: MIB });
  const image = new Epochs(ring);
  const guest = new CutGuest(ring);
  guest.begin();
  guest.put({ part: PART.REFERENCES, data: reference({}) });
  assert.throws(() => image.take(), /a reference in the first epoch/);
});

references('pages of which patches come are written as these leave them', async () => {
  const s = await receiving();
  const sender = await afterOne(s);
  const kept = PAGE - 5;
  // Two pages: three bytes stay, two come; then one far behind, in the next page.
  const runs = [3, 2, 0x41, 0x42, (kept & 0x7f) | 0x80, kept >> 7, 1, 0x43];
  const patch = { part: PART.RAM, bytes: 2 * PAGE, data: Buffer.from(runs), isPatch: true };
  const again = { part: PART.RAM, bytes: PAGE, data: Buffer.from([0, 1, 0x44]), isPatch: true };
  const refers = { part: PART.REFERENCES, data: reference({ offset: PAGE, bytes: 2 * PAGE }) };
  s.peer.socket.write(sender.whole([patch, refers, again], 'two'));
  await until('it is acknowledged', () => s.peer.acks.length === 2);
  const expected = Buffer.from(DISK);
  expected.fill('1', PAGE, 2 * PAGE).fill(0, 2 * PAGE, 3 * PAGE);
  expected.write('D11AB', PAGE);
  expected.write('C', 2 * PAGE);
  assert.equal(readFileSync(s.disk), expected);
  assert.is(s.memory(0), 'D');
  s.end();
});

references('a few bytes that refer to more than any VM writes are refused', () => {
  const s = vm();
  const count = 30_000;
  const piece = Buffer.alloc(24 * count, reference({ bytes: DISK_BYTES }));
  const bytes = count * DISK_BYTES;
  for (let sum = 0; sum <= 8 * MEMORY + 4 * 2 ** 30; sum += bytes) {
    s.guest.put({ part: PART.REFERENCES, data: piece });
  }
  assert.throws(() => s.image.take(), /references to \d+ bytes in one epoch/);
});

references.run();
