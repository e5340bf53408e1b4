// SPDX-License-Identifier: Apache-2.0
/** An epoch's frames come to the backup together, so that it is woken once, with keys and without. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SHIP, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { tempDir, WRITER } from '../../bench/stand-ins/logs.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { FRAME } from '../../src/log/frame.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { CutGuest, notify, PAGE, PART } from '../lib/image-epochs.ts';
import { goodSides, type Tapped, tappedPair } from '../lib/keyed-links.ts';
import { goodbye } from '../lib/told.ts';

const MIB = 1 << 20;
const PAGES = 6;
const TYPE_AT = 4;

/** Segments with data that the primary's end has sent, as the kernel counts them; who reads may be late. */
function segmentsTo({ sockets }: Tapped): number {
  const [, away] = sockets;
  const words = ['sport', '=', `:${away?.remotePort}`, 'and', 'dport', '=', `:${away?.localPort}`];
  const said = execFileSync('ss', ['-tinH', ...words], { encoding: 'utf8' });
  const [, count] = /\bdata_segs_out:(\d+)/.exec(said) ?? [];
  return Number(count ?? 0);
}

const together = suite('frames of an epoch');

for (const [link, sides] of [
  ['in clear', { primary: null, backup: null }],
  ['with keys', goodSides()],
] as const) {
  together(`${link} they come at once`, async () => {
    const ring = new GuestRing({ recordSlots: 1024, dataBytes: MIB, stateBytes: MIB });
    const file = new LogFile(`${tempDir('together')}/log`, WRITER);
    const t = new TestCourier(ring);
    const it = await tappedPair(sides);
    it.backup.link.send(goodbye);
    await until('it is open', () => it.primary.told.frames.length === 1);
    t.courier.ship({ ...SHIP, seal: { ...SHIP.seal, atCuts: true }, log: file.start });
    t.courier.attach(it.primary.link);
    const before = { segments: segmentsTo(it.wire), frames: it.backup.told.frames.length };

    const guest = new CutGuest(ring);
    guest.begin();
    for (let n = 0; n < PAGES; n++) {
      guest.put({ part: PART.RAM, offset: n * PAGE, data: randomBytes(PAGE) });
    }
    guest.record(KIND.CHAR_OUT, Buffer.from('x'));
    guest.cut();
    notify(ring);
    const has = (type: number): number =>
      it.backup.told.frames.filter((frame) => frame.readUInt16LE(TYPE_AT) === type).length;
    await until('the epoch', () => has(FRAME.BATCH) === 1);
    // The blocks, the pages gathered in one, the devices and the end: each is begun apart.
    assert.is(has(FRAME.STATE), 4);
    // All five are one segment. What has come besides is one each, or fewer.
    const frames = (): number => it.backup.told.frames.length - before.frames;
    const segments = (): number => segmentsTo(it.wire) - before.segments;
    const isTogether = (): boolean => segments() > 0 && segments() <= frames() - 4;
    await until('fewer segments than frames', isTogether, 2000);

    t.courier.destroy();
    ring.destroy();
    file.close();
    it.close();
  });
}

together.run();
