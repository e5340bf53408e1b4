// SPDX-License-Identifier: Apache-2.0
/** What a joining backup does with what it gets: images, a checkpoint, and damage. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount, comparePoints, POWER_ON } from '../../src/base/position.ts';
import { FileStateSink } from '../../src/daemon/state-sink.ts';
import { CatchUp } from '../../src/epochs/catch-up.ts';
import type { FirstBatch, Start } from '../../src/log/entrance.ts';
import { parseConfig } from '../../src/vm/config.ts';
import { claimDisks } from '../../src/vm/disk.ts';
import { BLOCK_BYTES } from '../../src/wire/joining.ts';

interface Context {
  dir: string;
  image: string;
  sink: FileStateSink;
}

const sinks = suite<Context>('a joining backup');

const ICOUNT = 1234n;
const START: Start<FirstBatch> = {
  point: atIcount(ICOUNT),
  entrance: { sequence: 7n, recordBase: 9n, dataBase: 8n, prevChecksum: 5n },
};
const hex = (value: number): string => value.toString(16).padStart(8, '0');

sinks.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-sink-'));
  context.image = join(context.dir, 'disk.raw');
  writeFileSync(context.image, Buffer.alloc(3 * BLOCK_BYTES, 'old'));
  mkdirSync(join(context.dir, 'state'));
  context.sink = new FileStateSink(join(context.dir, 'state', 'joined'), [context.image]);
});
sinks.after.each((context) => {
  context.sink.close();
  rmSync(context.dir, { recursive: true, force: true });
});

/** As state-source.ts sends one: the disk's second block is new in the checkpoint. */
function sendCheckpoint(sink: FileStateSink, damage = false): void {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(BLOCK_BYTES), 0);
  head.writeUInt32LE(4, 8);
  head.writeUInt32LE(4, 12);
  const files = new Map([
    ['disk0', Buffer.concat([Buffer.from('UXCKDSK3'), head, Buffer.from('last')])],
    ['ram', Buffer.from('memory')],
    ['state', Buffer.from('devices')],
  ]);
  const list = [...files].map(([name, data]) => ({
    name,
    bytes: data.length,
    crc32: hex(crc32(data)),
  }));
  const body = JSON.stringify({
    format: 3,
    icount: Number(ICOUNT),
    vtime_ns: 1,
    ordinal: 9,
    data_offset: 8,
    kind: 'full',
    parent: null,
    bytes: 1,
    digest: '0123456789abcdef',
    created_at: 'now',
    pause_ns: 1,
    devices_ns: 1,
    files: list,
  }).slice(0, -1);
  for (const [name, data] of files) {
    if (damage && name === 'ram') data.writeUInt8(data.readUInt8(2) ^ 16, 2);
    sink.put({ file: `checkpoint/${name}`, offset: 0n, data });
  }
  const manifest = Buffer.from(`${body},"checksum":"${hex(crc32(body))}"}\n`);
  sink.put({ file: 'checkpoint/manifest.json', offset: 0n, data: manifest });
}

sinks('blocks go into the image, then what the checkpoint has of it', async (context) => {
  const { sink, image, dir } = context;
  assert.is((await sink.blocks())[0]?.length, 3);
  const block = Buffer.alloc(BLOCK_BYTES, 'x');
  sink.put({ file: 'image/0', offset: BigInt(BLOCK_BYTES), data: block });
  sendCheckpoint(sink);
  const origin = await sink.finish(START);
  const expected = Buffer.alloc(3 * BLOCK_BYTES, 'old');
  block.copy(expected, BLOCK_BYTES);
  expected.write('last', BLOCK_BYTES);
  assert.ok(readFileSync(image).equals(expected));
  assert.not.ok(existsSync(`${image}.incomplete`));
  assert.equal(origin.entrance, START.entrance);
  assert.is(readFileSync(origin.chain, 'utf8'), `${join(dir, 'state', 'joined', '1234')}\n`);
});

sinks('an image that is half copied is refused, but for a backup that joins again', (context) => {
  const { sink, image, dir } = context;
  const config = parseConfig('name = "a"\n[[disk]]\nimage = "disk.raw"', join(dir, 'VM.toml'));
  claimDisks(config).release();
  sink.put({ file: 'image/0', offset: 0n, data: Buffer.alloc(BLOCK_BYTES) });
  assert.throws(() => claimDisks(config), /disk\.raw is half of one moment .*`understudy backup`/);
  claimDisks(config, 'allowed').release();
  rmSync(`${image}.incomplete`);
  claimDisks(config).release();
});

sinks('a checkpoint with a flipped bit is refused; the image stays marked', async (context) => {
  const { sink, image } = context;
  sink.put({ file: 'image/0', offset: 0n, data: Buffer.alloc(BLOCK_BYTES) });
  sendCheckpoint(sink, true);
  const error = await sink.finish(START).catch((reason: unknown) => reason);
  assert.match(String(error), /checkpoint that came is damaged: ram does not have its checksum/);
  assert.ok(existsSync(`${image}.incomplete`));
});

sinks('a checkpoint of another position is none', async ({ sink }) => {
  sendCheckpoint(sink);
  const error = await sink
    .finish({ ...START, point: atIcount(99n) })
    .catch((reason: unknown) => reason);
  assert.match(String(error), /damaged: .*icount 1234/);
});

sinks('names that lead elsewhere are refused', ({ sink }) => {
  for (const file of ['image/1', 'image/x', 'checkpoint/../x', 'checkpoint/', 'other/ram', '']) {
    const put = (): void => sink.put({ file, offset: 0n, data: Buffer.alloc(8) });
    assert.throws(put, /which this VM does not have/, file);
  }
});

sinks.run();

const pace = suite('catching up');

pace('nothing is slowed at first, then to a share of what the backup replays', () => {
  const catchUp = new CatchUp(0);
  for (let ms = 0; ms <= 3000; ms += 10) {
    catchUp.backupAt({ atMs: ms, point: atIcount(BigInt(ms * 200_000)) });
  }
  assert.is(catchUp.boundAt(1999, atIcount(5n)), null);
  assert.is(catchUp.boundAt(3000, atIcount(1000n)), atIcount(1_801_000n)); // 60 % of 15 ms
});

pace('a backup that stands still does not stop the guest', () => {
  const catchUp = new CatchUp(0);
  catchUp.backupAt({ atMs: 0, point: POWER_ON.point });
  catchUp.backupAt({ atMs: 2990, point: POWER_ON.point });
  const bound = catchUp.boundAt(3000, POWER_ON.point);
  assert.ok(bound !== null && comparePoints(bound, POWER_ON.point) > 0);
});

pace.run();
