// SPDX-License-Identifier: Apache-2.0
/**
 * A primary that lies about the state it gives: the backup that joins looks for it again,
 * twice; then it ends with the lie's name and exit code, and its image is as it was, or marked.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { atIcount } from '../../src/base/position.ts';
import { FRAME } from '../../src/log/frame.ts';
import { BLOCK_BYTES, encodeCheckpoint, encodeStart } from '../../src/wire/joining.ts';
import { run } from '../lib/command.ts';
import { FakeVmPair, sleep } from '../lib/fake-vm-pair.ts';
import { HandPrimary } from '../lib/pair-peer.ts';

const block = Buffer.alloc(BLOCK_BYTES, 0x5a);
const piece = (ordinal: bigint, part: number, offset: bigint): Buffer =>
  stateFrame({ ordinal, part, offset, data: block });
const first = piece(0n, 0, 0n);
const entrance = { sequence: 0n, recordBase: 0n, dataBase: 0n, prevChecksum: 0n };
const start = (pieces: bigint): Buffer =>
  encodeStart({ start: { point: atIcount(5n), entrance }, pieces });

interface Lie {
  readonly frames: readonly Buffer[];
  readonly code: number;
  readonly named: RegExp;
  /** Nothing of the image was overwritten before. */
  readonly untouched?: true;
}

const LIES: Record<string, Lie> = {
  'a damaged piece': {
    frames: [Buffer.from(first).fill(1, 200, 201)],
    code: 12,
    named: /a piece of state that is damaged: piece checksum/,
    untouched: true,
  },
  'a piece twice': {
    frames: [first, first],
    code: 12,
    named: /a piece of state that is repeated: number 0 after 0/,
  },
  'a piece left out': {
    frames: [first, piece(2n, 0, BigInt(BLOCK_BYTES))],
    code: 12,
    named: /a piece of state that comes too early: number 2, 1 is missing/,
  },
  'a piece beyond the disk': {
    frames: [piece(0n, 0, 1n << 40n)],
    code: 12,
    named: /a piece of state that is out of bounds: 32768 bytes at 1099511627776 of part 0/,
    untouched: true,
  },
  'a piece of no part': {
    frames: [piece(0n, 9, 0n)],
    code: 12,
    named: /a piece of state that is of part 9: there are 1/,
    untouched: true,
  },
  'the end too soon': {
    frames: [first, start(2n)],
    code: 12,
    named: /pieces of state are missing: 2 were sent, 1 came/,
  },
  'no checkpoint': {
    frames: [start(0n)],
    code: 12,
    named: /it sent no checkpoint/,
    untouched: true,
  },
  'a checkpoint that is none': {
    frames: [encodeCheckpoint('{}')],
    code: 11,
    named: /the checkpoint that came is damaged: manifest\.json does not have its checksum/,
    untouched: true,
  },
};

const lies = suite('a primary that lies to a backup that joins');

/**
 * A backup joins a primary that has these frames for it, once it has said what it has.
 * @param frames of each meeting; null: it hangs up instead
 */
async function joins(frames: (meeting: number) => readonly Buffer[] | null) {
  const pair = await FakeVmPair.make();
  const metMs: number[] = [];
  const hand = new HandPrimary(pair.port, async (primary, index) => {
    metMs.push(performance.now());
    primary.welcome(index, { join: 'running' });
    const peer = primary.met[index];
    while (peer?.types.includes(FRAME.BLOCKS) === false && !peer.socket.destroyed) await sleep(5);
    for (const frame of frames(index) ?? []) peer?.socket.write(frame);
    if (frames(index) === null) peer?.socket.destroy();
  });
  const image = join(pair.dir, 'backup', 'disk.raw');
  const before = readFileSync(image);
  const { code, stderr } = await run(['backup', pair.toml('backup')], { env: pair.env });
  hand.close();
  await pair.end();
  const isMarked = existsSync(`${image}.incomplete`);
  return { code, stderr, metMs, isMarked, isSame: readFileSync(image).equals(before) };
}

for (const [name, { frames, code, named, untouched = false }] of Object.entries(LIES)) {
  lies(`${name}: exit code ${code}, by name`, async () => {
    const result = await joins(() => frames);
    assert.is(result.code, code, result.stderr);
    assert.match(result.stderr, named);
    const [one = 0, two = 0, three = 0, ...more] = result.metMs;
    assert.ok(two - one >= 1000, `${two - one} ms`);
    assert.ok(three - two >= 2000, `${three - two} ms`);
    assert.equal(more, []);
    assert.is(result.isSame, untouched);
    assert.is(result.isMarked, !untouched);
  });
}

lies('a frame of wire version 2 has no place any more', async () => {
  const old = encodeCheckpoint('x');
  old.writeUInt16LE(10, 4);
  sealControlFrame(old);
  const { code, stderr } = await joins(() => [old]);
  assert.is(code, 12, stderr);
  assert.match(stderr, 'unexpected type 10 of a primary that is joined');
});

lies('only bad state three times in a row ends a backup', async () => {
  const bad = [Buffer.from(first).fill(1, 200, 201)];
  const meetings = [bad, bad, null, bad, bad, [start(0n)]];
  const { code, stderr, metMs } = await joins((meeting) => meetings[meeting] ?? null);
  assert.is(code, 12, stderr);
  assert.is(metMs.length, meetings.length);
  assert.match(stderr, /it sent no checkpoint/);
});

lies.run();
