// SPDX-License-Identifier: Apache-2.0
/** What a joining backup does with what it gets: images, a checkpoint, and damage. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HandPeer, until } from '../../bench/stand-ins/courier.ts';
import { stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { atIcount, comparePoints, POWER_ON } from '../../src/base/position.ts';
import { hostClock } from '../../src/daemon/adapters.ts';
import { FileStateSink } from '../../src/daemon/state-sink.ts';
import { CatchUp } from '../../src/epochs/catch-up.ts';
import type { FirstBatch, Origin, Start } from '../../src/log/entrance.ts';
import { parseConfig } from '../../src/vm/config.ts';
import { claimDisks } from '../../src/vm/disk.ts';
import { Connection } from '../../src/wire/connection.ts';
import { BLOCK_BYTES } from '../../src/wire/joining.ts';
import { PeerSession } from '../../src/wire/session.ts';
import { goodbye } from '../lib/told.ts';
import { FORMAT } from '../lib/written-checkpoint.ts';

interface Context {
  dir: string;
  image: string;
  sink: FileStateSink;
  peer: HandPeer;
  /** What the sink has told. */
  failures: string[];
  receives: number;
  pieces: bigint;
}

const sinks = suite<Context>('a joining backup');

const ICOUNT = 1234n;
const START: Start<FirstBatch> = {
  point: atIcount(ICOUNT),
  entrance: { sequence: 7n, recordBase: 9n, dataBase: 8n, prevChecksum: 5n },
};
/** Frames that are not state. */
let told = 0;
const hex = (value: number): string => value.toString(16).padStart(8, '0');

sinks.before.each(async (context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-sink-'));
  context.image = join(context.dir, 'disk.raw');
  writeFileSync(context.image, Buffer.alloc(3 * BLOCK_BYTES, 'old'));
  mkdirSync(join(context.dir, 'state'));
  context.sink = new FileStateSink(
    join(context.dir, 'state', 'joined'),
    [context.image],
    'replaying',
  );
  context.peer = await HandPeer.make();
  context.failures = [];
  context.receives = 0;
  context.pieces = 0n;
  const link = context.peer.far;
  const session = new PeerSession(hostClock, (events) => new Connection(link, events), {
    frame() {},
    heartbeat() {},
    goodbye: () => {
      told += 1;
    },
    lost() {},
    drained() {},
  });
  context.sink.open(session, {
    receiving: () => {
      context.receives += 1;
    },
    failed: ({ code, message }) => context.failures.push(`${code}: ${message}`),
  });
});
sinks.after.each(async (context) => {
  await context.sink.close();
  context.peer.close();
  rmSync(context.dir, { recursive: true, force: true });
});

function send(context: Context, part: number, offset: number, data: Buffer): void {
  const frame = stateFrame({ ordinal: context.pieces, part, offset: BigInt(offset), data });
  context.pieces += 1n;
  context.peer.socket.write(frame);
}

/** A session's START comes after its pieces: they are with the sink then. */
async function arrived({ peer }: Context): Promise<void> {
  const before = told;
  peer.socket.write(goodbye);
  await until('all before it', () => told > before);
}

function finish(context: Context, start = START): Promise<Origin | null> {
  return context.sink.finish({ start, pieces: context.pieces });
}

const FILES = new Map([
  ['disk0', diskPart()],
  ['ram', Buffer.from('memory')],
  ['state', Buffer.from('devices')],
]);

/** The disk's second block begins with other bytes in the checkpoint. */
function diskPart(): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(BLOCK_BYTES), 0);
  head.writeUInt32LE(4, 8);
  head.writeUInt32LE(4, 12);
  return Buffer.concat([Buffer.from('UXCKDSK3'), head, Buffer.from('last')]);
}

function manifestOf(files: readonly { name: string; bytes: number; crc32: string }[]): string {
  const body = JSON.stringify({
    format: FORMAT,
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
    files,
  }).slice(0, -1);
  return `${body},"checksum":"${hex(crc32(body))}"}\n`;
}

const LIST = [...FILES].map(([name, data]) => ({
  name,
  bytes: data.length,
  crc32: hex(crc32(data)),
}));

/** As state-source.ts sends one. */
function sendCheckpoint(context: Context, damage = false): void {
  context.sink.checkpoint(manifestOf(LIST));
  for (const [index, [name, whole]] of [...FILES].entries()) {
    const data = Buffer.from(whole);
    if (damage && name === 'ram') data.writeUInt8(data.readUInt8(2) ^ 16, 2);
    send(context, 1 + index, 0, data);
  }
}

sinks('blocks go into the image, then what the checkpoint has of it', async (context) => {
  const { sink, image, dir } = context;
  assert.is((await sink.blocks())[0]?.length, 3);
  const block = Buffer.alloc(BLOCK_BYTES, 'x');
  send(context, 0, BLOCK_BYTES, block);
  sendCheckpoint(context);
  await arrived(context);
  const origin = await finish(context);
  const expected = Buffer.alloc(3 * BLOCK_BYTES, 'old');
  block.copy(expected, BLOCK_BYTES);
  expected.write('last', BLOCK_BYTES);
  assert.ok(readFileSync(image).equals(expected));
  assert.ok(existsSync(`${image}.incomplete`), 'it may not take over yet');
  sink.entitled();
  assert.not.ok(existsSync(`${image}.incomplete`));
  assert.equal(origin?.entrance, START.entrance);
  assert.is(readFileSync(origin?.chain ?? '', 'utf8'), `${join(dir, 'state', 'joined', '1234')}\n`);
  assert.is(context.receives, 1);
});

sinks('an image that is half copied is refused, but for a backup that joins again', async (it) => {
  const { image, dir } = it;
  const config = parseConfig('name = "a"\n[[disk]]\nimage = "disk.raw"', join(dir, 'VM.toml'));
  claimDisks(config).release();
  send(it, 0, 0, Buffer.alloc(BLOCK_BYTES));
  await until('it begins', () => it.receives === 1);
  assert.throws(() => claimDisks(config), /disk\.raw is half of one moment .*`understudy backup`/);
  claimDisks(config, 'allowed').release();
  rmSync(`${image}.incomplete`);
  claimDisks(config).release();
});

sinks('a checkpoint with a flipped bit is refused; the image stays marked', async (context) => {
  const { image } = context;
  send(context, 0, 0, Buffer.alloc(BLOCK_BYTES));
  sendCheckpoint(context, true);
  await arrived(context);
  const error = await finish(context).catch((reason: unknown) => reason);
  assert.match(String(error), /checkpoint that came is damaged: ram does not have its checksum/);
  assert.ok(existsSync(`${image}.incomplete`));
});

sinks('a checkpoint of another position is none', async (context) => {
  sendCheckpoint(context);
  await arrived(context);
  const error = await finish(context, { ...START, point: atIcount(99n) }).catch(
    (reason: unknown) => reason,
  );
  assert.match(String(error), /damaged: .*icount 1234/);
});

sinks('files that the VM does not have are refused, and whatever is no manifest', ({ sink }) => {
  const [disk, ram] = LIST;
  if (disk === undefined || ram === undefined) throw new Error('there are three');
  for (const [files, why] of [
    [[{ ...disk, name: 'disk1' }], /has "disk1", which this VM's do not have/],
    [[{ ...disk, name: 'manifest' }], /has "manifest"/],
    [[ram, ram], /has "ram"/],
    [[{ ...disk, name: '../x' }], /damaged/],
  ] as const) {
    assert.throws(() => sink.checkpoint(manifestOf(files)), why);
  }
  assert.throws(() => sink.checkpoint('{}'), /damaged: manifest\.json does not have its checksum/);
  sink.checkpoint(manifestOf([ram]));
  assert.throws(() => sink.checkpoint(manifestOf([disk])), /a second checkpoint/);
});

sinks('a join without a checkpoint is none', async (it) => {
  const none = await finish(it).catch((reason: unknown) => reason);
  assert.match(String(none), 'it sent no checkpoint');
});

sinks('a piece that is missing, or lies, fails the join by name', async (context) => {
  sendCheckpoint(context);
  await arrived(context);
  context.pieces += 1n;
  assert.is(await finish(context), null);
  assert.match(context.failures[0] ?? '', /^peer-protocol: .*missing: 4 were sent, 3 came/);
});

sinks('an image is not touched beyond its end, nor marked for what is refused', async (context) => {
  const { image, peer, failures } = context;
  const before = readFileSync(image);
  const offset = BigInt(3 * BLOCK_BYTES - 1);
  peer.socket.write(stateFrame({ ordinal: 0n, part: 0, offset, data: Buffer.alloc(2) }));
  await until('it is refused', () => failures.length === 1);
  assert.match(failures[0] ?? '', /^peer-protocol: .*out of bounds: 2 bytes at 98303 of part 0/);
  assert.ok(readFileSync(image).equals(before));
  assert.not.ok(existsSync(`${image}.incomplete`));
});

sinks('an image whose mark cannot be written is not written to', async (context) => {
  const { image, failures } = context;
  const before = readFileSync(image);
  mkdirSync(`${image}.incomplete`);
  send(context, 0, 0, Buffer.alloc(BLOCK_BYTES));
  await until('it fails', () => failures.length === 1);
  assert.match(failures[0] ?? '', /^log-write: cannot write .*disk\.raw\.incomplete/);
  await context.sink.close();
  assert.ok(readFileSync(image).equals(before));
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
