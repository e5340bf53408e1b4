// SPDX-License-Identifier: Apache-2.0
/** The debugger's parts without a VM: packets, places, the search backward. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DraftRecord, writeLog } from '../../bench/stand-ins/batches.ts';
import { tempDir, VM_ID, writeFrames } from '../../bench/stand-ins/logs.ts';
import { atIcount as at, icountOf, type Point } from '../../src/base/position.ts';
import { outputNumber, recordsAfter } from '../../src/debug/extent.ts';
import {
  comparePlaces,
  type Hit,
  parseStop,
  placeAt,
  type Stop,
  startBefore,
  writerText,
} from '../../src/debug/place.ts';
import { HitMemory, hitsBefore, type Runner } from '../../src/debug/reverse.ts';
import { encodePacket, fromHex, type RspEvent, RspParser, toHex } from '../../src/debug/rsp.ts';
import { Aims, aimText } from '../../src/debug/watch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { type Recording, recordingPaths } from '../../src/recording/folder.ts';

const packets = suite('remote serial protocol');

const textsOf = (events: readonly RspEvent[]): string[] =>
  events.map((event) => (event.kind === 'packet' ? `$${event.text}` : event.kind));

packets('a packet has the checksum of the manual', () => {
  assert.is(encodePacket('qSupported').toString(), '$qSupported#37');
  assert.is(encodePacket('').toString(), '$#00');
});

packets('any text goes through, cut anywhere', () => {
  const text = 'a#b$c}d*e\u0003\u00ff';
  const bytes = Buffer.concat([Buffer.from('+'), encodePacket(text), encodePacket('g')]);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const parser = new RspParser();
    const events = [...parser.feed(bytes.subarray(0, cut)), ...parser.feed(bytes.subarray(cut))];
    assert.equal(textsOf(events), ['ack', `$${text}`, '$g'], `cut at ${cut}`);
  }
});

packets('acknowledgements, interrupts, noise and a wrong checksum', () => {
  const events = new RspParser().feed(Buffer.from('+-\u0003x$g#00$g#67', 'latin1'));
  assert.equal(textsOf(events), ['ack', 'nack', 'break', 'bad', '$g']);
});

packets('runs are undone', () => {
  // "0* ": '0', then as many more as ' ' says: 3.
  const body = '0* ';
  let sum = 0;
  for (const c of body) sum += c.charCodeAt(0);
  const events = new RspParser().feed(Buffer.from(`$${body}#${(sum & 255).toString(16)}`));
  assert.equal(textsOf(events), ['$0000']);
});

packets('runs do not make a packet longer than one may be', () => {
  const packetOf = (body: Buffer): Buffer => {
    const sum = body.reduce((total, byte) => (total + byte) & 255, 0);
    return Buffer.from(
      `$${body.toString('latin1')}#${sum.toString(16).padStart(2, '0')}`,
      'latin1',
    );
  };
  // '~' repeats the byte before it 97 times.
  const runs = (count: number): Buffer => Buffer.from(`0${'*~'.repeat(count)}`);
  assert.equal(textsOf(new RspParser().feed(packetOf(runs(3)))), [`$${'0'.repeat(292)}`]);
  assert.equal(textsOf(new RspParser().feed(packetOf(runs(20_000)))), ['bad']);
});

packets('a packet without an end does not fill memory', () => {
  const parser = new RspParser();
  for (let n = 0; n < 40; n += 1)
    parser.feed(Buffer.from(`${n === 0 ? '$' : ''}${'x'.repeat(65_536)}`));
  assert.equal(textsOf(parser.feed(encodePacket('g'))).at(-1), '$g');
});

packets('hexadecimal text', () => {
  assert.is(fromHex(toHex('où?')), 'où?');
});

const places = suite('places');

places('what QEMU says', () => {
  const stop = parseStop('Understudy:hit,12,34,1,0,2;w,11,0,ffffffff81000000,0;b,12,1,401000,0');
  assert.is(stop.reason, 'hit');
  assert.equal(stop.place, { point: at(12n), phase: 1 });
  assert.is(stop.vtimeNs, 34n);
  assert.equal(
    stop.hits.map(({ kind, address }) => [kind, address]),
    [
      ['watch', 0xffff_ffff_8100_0000n],
      ['breakpoint', 0x40_1000n],
    ],
  );
  assert.throws(() => parseStop('E22'), /did not say where/);
});

places('an order', () => {
  assert.ok(comparePlaces(placeAt(at(1n)), placeAt(at(2n))) < 0);
  assert.ok(comparePlaces({ point: at(1n), phase: 1 }, placeAt(at(1n))) > 0);
  assert.is(comparePlaces(placeAt(at(1n)), placeAt(at(1n))), 0);
});

places('what wrote to memory instead of a vCPU', () => {
  const stop = parseStop(
    'Understudy:hit,12,34,-1,0,0;w,12,-1,7e00,0,record 3 0 0 17;a,11,0,7e00,0,device fw_cfg;' +
      'w,10,0,7e00,0,',
  );
  assert.is(stop.place.phase, -1);
  assert.equal(
    stop.hits.map(({ by }) => by),
    ['disk0: request 17 is complete (BLK_DONE)', 'the device fw_cfg', null],
  );
  assert.is(writerText('record 1 2 60 0'), 'net2: a packet of 60 bytes came (NET_IN)');
});

places('before what devices do at a position is after the instruction before', () => {
  const before = { point: at(7n), phase: -1 };
  assert.ok(
    comparePlaces(before, placeAt(at(7n))) < 0 && comparePlaces(before, placeAt(at(6n))) > 0,
  );
  assert.is(startBefore(before), at(6n));
  assert.is(startBefore(placeAt(at(7n))), at(7n));
});

places('a watchpoint is watched where it is in memory, page by page', async () => {
  const pages = new Map([
    [0x1ffen, 0x5ffen],
    [0x2000n, 0x9000n],
  ]);
  const aims = new Aims();
  const here = { translate: async (at: bigint) => pages.get(at) ?? null };
  const points = new Set(['2,1ffe,4', '3,2000,8', '1,2000,1']);
  assert.is(aimText(await aims.of(points, here)), '1ffe,5ffe,2;1ffe,9000,2');
  pages.clear(); // another process runs
  assert.is(aimText(await aims.of(points, here)), '1ffe,5ffe,2;1ffe,9000,2');
});

const reverse = suite('reverse');

const hitAt = (icount: bigint, phase = 0): Hit => ({
  kind: 'breakpoint',
  place: { point: at(icount), phase },
  address: 1n,
  cpu: 0,
  by: null,
});

/** A recording with checkpoints and hits; counts the runs of a search. */
function world(starts: readonly bigint[], hits: readonly Hit[]) {
  const runs: string[] = [];
  let alive = 0;
  const fresh = async (point: Point): Promise<Runner> => {
    const start = starts.filter((one) => one <= icountOf(point)).at(-1) ?? 0n;
    alive += 1;
    return {
      place: placeAt(at(start)),
      run: async (_mode, to): Promise<Stop> => {
        runs.push(`${start}-${icountOf(to.point)}`);
        const met = hits.filter(
          ({ place }) =>
            comparePlaces(place, placeAt(at(start))) >= 0 && comparePlaces(place, to) < 0,
        );
        return { reason: 'there', place: to, vtimeNs: 0n, cpu: 0, hits: met };
      },
    };
  };
  const done = async (): Promise<void> => {
    alive -= 1;
  };
  return { fresh, done, runs, alive: () => alive };
}

const search = async (
  from: Stop['place'],
  { fresh, done }: ReturnType<typeof world>,
  begin = at(0n),
): Promise<Hit | undefined | 'cancelled'> => {
  const hits = await hitsBefore({ from, begin, fresh, done, isCancelled: () => false });
  return hits === 'cancelled' ? hits : hits.at(-1);
};

reverse('the last hit before, from the nearest checkpoint', async () => {
  const w = world([100n, 200n], [hitAt(50n), hitAt(210n), hitAt(220n), hitAt(300n)]);
  assert.equal((await search(placeAt(at(300n)), w))?.valueOf(), hitAt(220n));
  assert.equal(w.runs, ['200-300']);
  assert.is(w.alive(), 0);
});

reverse('none there: one checkpoint earlier, and so on to the beginning', async () => {
  const w = world([100n, 200n], [hitAt(50n)]);
  assert.equal(await search(placeAt(at(300n)), w), hitAt(50n));
  assert.equal(w.runs, ['200-300', '100-200', '0-100']);
  assert.is(await search(placeAt(at(50n)), world([], [hitAt(50n)])), undefined);
});

reverse('a hit at a checkpoint belongs to the run that begins there', async () => {
  const w = world([100n, 200n], [hitAt(200n)]);
  assert.equal(await search(placeAt(at(201n)), w), hitAt(200n));
  assert.is(await search(placeAt(at(200n)), w), undefined);
});

reverse('of several states at one point, the one before', async () => {
  const w = world([], [hitAt(7n, 1), hitAt(7n, 2)]);
  assert.equal(await search({ point: at(7n), phase: 2 }, w), hitAt(7n, 1));
});

reverse('what devices did at a checkpoint is found from the one before it', async () => {
  const w = world([100n, 200n], [hitAt(200n, -1)]);
  assert.equal(await search(placeAt(at(200n)), w), hitAt(200n, -1));
  assert.equal(w.runs, ['100-200']);
  assert.is(await search({ point: at(200n), phase: -1 }, w), undefined);
});

reverse('not before where the recording begins', async () => {
  const w = world([100n, 200n], [hitAt(50n)]);
  assert.is(await search(placeAt(at(300n)), w, at(100n)), undefined);
  assert.equal(w.runs, ['200-300', '100-200']);
});

reverse('a search that was interrupted leaves nothing behind', async () => {
  const w = world([100n], []);
  let asked = 0;
  const isCancelled = (): boolean => ++asked > 1;
  const { fresh, done } = w;
  const found = await hitsBefore({
    from: placeAt(at(300n)),
    begin: at(0n),
    fresh,
    done,
    isCancelled,
  });
  assert.is(found, 'cancelled');
  assert.is(w.alive(), 0);
});

reverse('what was found is known again for the same points only', () => {
  const memory = new HitMemory();
  const points = new Set(['0,1,1', '2,8,8']);
  memory.remember(points, placeAt(at(100n)), [hitAt(10n), hitAt(20n)]);
  assert.equal(memory.before(new Set(['2,8,8', '0,1,1']), placeAt(at(20n))), [hitAt(10n)]);
  assert.equal(memory.before(points, placeAt(at(100n))), [hitAt(20n)]);
  assert.equal(memory.before(points, placeAt(at(10n))), [], 'before the first of them: not known');
  assert.equal(memory.before(points, placeAt(at(101n))), [], 'after what was searched: not known');
  assert.equal(memory.before(new Set(['0,1,1']), placeAt(at(100n))), []);
  memory.remember(points, placeAt(at(100n)), [hitAt(10n), hitAt(20n), hitAt(20n)]);
  assert.is(memory.before(points, placeAt(at(100n))).length, 2, 'all that were met at one place');
});

const extent = suite('extent');

/** A log whose arguments are its records' numbers; the CHECKPOINTs of a guest that prints. */
async function logOfOutputs(): Promise<string> {
  const { NET_IN, NET_OUT, CHAR_OUT, CHECKPOINT } = KIND;
  const made: [number, bigint][] = [
    [NET_OUT, 10n],
    [CHAR_OUT, 20n],
    [CHECKPOINT, 20n],
    [NET_OUT, 30n],
    [CHAR_OUT, 40n],
    [CHECKPOINT, 40n],
    [NET_IN, 40n],
    [NET_OUT, 40n],
    [NET_OUT, 50n],
  ];
  const records = made.map(([kind, icount], n): DraftRecord => {
    const record = { icount, vtimeNs: icount, kind, channel: 0, len: 0, arg: BigInt(n) };
    return kind === NET_IN || kind === CHAR_OUT ? { ...record, payload: Uint8Array.of(n) } : record;
  });
  const dir = tempDir('outputs');
  await writeFrames(recordingPaths(dir).log, writeLog(VM_ID, records, 3));
  return dir;
}

extent(
  'outputs are counted from where the recording begins, not from its first segment',
  async () => {
    const dir = await logOfOutputs();
    const outputsFrom = async (icount: bigint | null): Promise<(bigint | undefined)[]> => {
      const recording = {
        paths: recordingPaths(dir),
        manifest: { vm_id: VM_ID.toString('hex') },
        end: null,
        retained: icount === null ? null : { from: at(icount), fromSegment: 1, consoleFrom: 0 },
      } as Recording;
      if (icount !== null) {
        const [next] = await recordsAfter(recording, at(icount));
        assert.ok(next !== undefined && icountOf(next.point) > icount);
      }
      const found: (bigint | undefined)[] = [];
      for (const n of [1, 2, 3]) {
        const record = await outputNumber(recording, n);
        found.push(record === null ? undefined : icountOf(record.point));
      }
      return found;
    };
    assert.equal(await outputsFrom(null), [10n, 20n, 30n]);
    assert.equal(await outputsFrom(20n), [30n, 40n, 40n], 'what was printed before is not of it');
    assert.equal(await outputsFrom(40n), [40n, 50n, undefined], 'sent at it, after it, is');
  },
);

extent('what is next is all that the log has at the next position', async () => {
  const recording = {
    paths: recordingPaths(await logOfOutputs()),
    manifest: { vm_id: VM_ID.toString('hex') },
    end: null,
    retained: null,
  } as Recording;
  const kindsAfter = async (icount: bigint): Promise<number[]> =>
    (await recordsAfter(recording, at(icount))).map(({ kind }) => kind);
  const { NET_IN, NET_OUT, CHAR_OUT, CHECKPOINT } = KIND;
  assert.equal(await kindsAfter(30n), [CHAR_OUT, CHECKPOINT, NET_IN, NET_OUT]);
  assert.equal(await kindsAfter(49n), [NET_OUT]);
  assert.equal(await kindsAfter(50n), []);
});

packets.run();
places.run();
reverse.run();
extent.run();
