// SPDX-License-Identifier: Apache-2.0
/**
 * Unpacking what anybody may have made: damage at any byte, ends at any byte, and
 * files with right checksums and wrong contents. The writer here is from
 * src/pack/format.ts's description alone.
 */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { isSafePath } from '../../src/pack/format.ts';
import { unpack } from '../../src/pack/unpack.ts';
import { MANIFEST } from '../lib/pack-manifest.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-pack-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const file = join(dir, 'x.udpack');
const out = join(dir, 'out');

const [INFO, MEMBER, DATA, HASH, END, SIGNATURE] = [1, 2, 3, 4, 5, 6] as const;

function frame(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(type, 0);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt32LE(crc32(Buffer.concat([header.subarray(0, 8), body])), 8);
  return Buffer.concat([header, body]);
}

const json = (type: number, value: object): Buffer =>
  frame(type, Buffer.from(JSON.stringify(value)));

function data(offset: number, content: Buffer, packed = brotliCompressSync(content)): Buffer {
  const header = Buffer.alloc(12);
  header.writeBigUInt64LE(BigInt(offset), 0);
  header.writeUInt32LE(content.length, 8);
  return frame(DATA, Buffer.concat([header, packed]));
}

interface Part {
  readonly path: string;
  readonly bytes: number;
  readonly extents: ReadonlyArray<readonly [number, Buffer]>;
}

function whole(path: string, text: string): Part {
  return { path, bytes: text.length, extents: [[0, Buffer.from(text)]] };
}

function member({ path, bytes, extents }: Part): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(bytes));
  const hash = createHash('sha256').update(size);
  const frames = extents.map(([offset, content]) => {
    const header = Buffer.alloc(12);
    header.writeBigUInt64LE(BigInt(offset), 0);
    header.writeUInt32LE(content.length, 8);
    hash.update(header).update(content);
    return data(offset, content);
  });
  return Buffer.concat([json(MEMBER, { path, bytes }), ...frames, frame(HASH, hash.digest())]);
}

function header(version = 1): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write('\x89UDPACK\n', 'latin1');
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

const info = (members: number, more: object = {}): Buffer =>
  json(INFO, {
    name: 'x',
    vm_id: '0'.repeat(32),
    understudy: '0.1.0',
    packed_at: '2026-01-01T00:00:00Z',
    members,
    bytes: 0,
    disk_bytes: 0,
    ...more,
  });

const SMALL = { bytes: 100, disk_bytes: 100 };

/** INFO of parts, as an honest packer has it: nothing of these parts is a block of zeros. */
const infoOf = (parts: readonly Part[], more: object = {}): Buffer => {
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  const written = parts.flatMap(({ extents }) => extents.map(([, content]) => content.length));
  const bytes = sum(parts.map((part) => part.bytes));
  return info(parts.length, { bytes, disk_bytes: sum(written), ...more });
};

function seal(...frames: readonly Buffer[]): Buffer {
  const before = Buffer.concat(frames);
  return Buffer.concat([before, frame(END, createHash('sha256').update(before).digest())]);
}

const DISK_BYTES = 64 << 20;
const PARTS: readonly Part[] = [
  whole('VM.toml', 'name = "x"\nkernel = "kernel"\n'),
  whole('vm.json', JSON.stringify(MANIFEST)),
  whole('kernel', 'a kernel'),
  {
    path: 'disks/0.raw',
    bytes: DISK_BYTES,
    extents: [
      [0, Buffer.alloc(20_000, 'a')],
      [32 << 20, Buffer.concat([Buffer.alloc(4096), Buffer.from('b'), Buffer.alloc(9000)])],
    ],
  },
  { path: 'console.log', bytes: 0, extents: [] },
];
const packOf = (parts: readonly Part[]): Buffer =>
  seal(header(), infoOf(parts), ...parts.map(member));
const GOOD = packOf(PARTS);

async function tryUnpack(bytes: Buffer): Promise<UnderstudyError | null> {
  writeFileSync(file, bytes);
  let failure: UnderstudyError | null = null;
  try {
    await unpack({ file, out, onProgress: () => {} }, new AbortController().signal);
  } catch (error) {
    if (!(error instanceof UnderstudyError)) throw error;
    failure = error;
    assert.equal(readdirSync(dir), ['x.udpack'], `nothing is left: ${error.message}`);
  }
  return failure;
}

async function refused(bytes: Buffer, message: RegExp | string, code = 'pack-corrupt') {
  const error = await tryUnpack(bytes);
  assert.ok(error, `refused: ${message}`);
  assert.is(error?.code, code, error?.message);
  assert.match(error?.message ?? '', message);
}

const unpacking = suite('unpack');
unpacking.before.each(() => rmSync(out, { recursive: true, force: true }));
unpacking.after.each(() => rmSync(out, { recursive: true, force: true }));

unpacking('what is described in format.ts, holes as holes', async () => {
  assert.is(await tryUnpack(GOOD), null);
  assert.is(readFileSync(join(out, 'kernel'), 'utf8'), 'a kernel');
  assert.is(statSync(join(out, 'console.log')).size, 0);
  const disk = join(out, 'disks/0.raw');
  const { size, blocks } = statSync(disk);
  assert.is(size, DISK_BYTES);
  assert.ok(blocks * 512 <= 64 * 1024, `${blocks * 512} bytes on disk for 20 KB of data`);
  const bytes = readFileSync(disk);
  assert.is(bytes.toString('latin1', 0, 20_000), 'a'.repeat(20_000));
  assert.is(bytes.lastIndexOf('b'), (32 << 20) + 4096);
});

unpacking('a flipped bit at any byte', async () => {
  const bytes = Buffer.from(GOOD);
  for (let at = 0; at < bytes.length; at += 1) {
    const bit = 1 << (at % 8);
    bytes[at] = (bytes[at] ?? 0) ^ bit;
    const error = await tryUnpack(bytes);
    assert.ok(error, `bit ${at % 8} of byte ${at}`);
    assert.is(error?.code, 'pack-corrupt', `byte ${at}: ${error?.message}`);
    bytes[at] = (bytes[at] ?? 0) ^ bit;
  }
});

unpacking('an end at any byte, and bytes behind the end', async () => {
  for (let at = 0; at < GOOD.length; at += at < 400 || at > GOOD.length - 60 ? 1 : 7) {
    const error = await tryUnpack(GOOD.subarray(0, at));
    assert.is(error?.code, 'pack-corrupt', `cut at ${at}: ${error?.message}`);
  }
  await refused(Buffer.concat([GOOD, Buffer.from('x')]), /1 bytes are behind it/);
});

unpacking('damage names the member', async () => {
  const bytes = Buffer.from(GOOD);
  const at = bytes.indexOf('"path":"kernel"') + 60;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await refused(bytes, 'member kernel');
});

unpacking('frames that are each sound, and not what was packed', async () => {
  const begin = json(MEMBER, { path: 'kernel', bytes: 2 });
  const [x, y] = [data(0, Buffer.from('x')), data(1, Buffer.from('y'))];
  const hash = member({
    path: 'kernel',
    bytes: 2,
    extents: [
      [0, Buffer.from('x')],
      [1, Buffer.from('y')],
    ],
  }).subarray(-44);
  const of = (...frames: Buffer[]): Buffer =>
    seal(header(), info(1, SMALL), begin, ...frames, hash);
  await refused(of(x, y), /no recording/); // sound to here
  await refused(of(x), /member kernel: its checksum differs/);
  await refused(of(x, data(1, Buffer.from('z'))), /member kernel: its checksum differs/);
  const longer = json(MEMBER, { path: 'kernel', bytes: 3 });
  await refused(seal(header(), info(1, SMALL), longer, x, y, hash), /its checksum differs/);
  // Two members in another order: only the sum of all tells.
  const [a = Buffer.alloc(0), b = Buffer.alloc(0), ...others] = PARTS.map(member);
  const end = GOOD.subarray(-44);
  const swapped = [header(), infoOf(PARTS), b, a, ...others, end];
  await refused(Buffer.concat(swapped), /the checksum of all of it differs/);
});

unpacking('a file of a newer version, and another file', async () => {
  await refused(seal(header(3), info(0)), /version 3.*reads version 2/, 'pack-version');
  await refused(Buffer.from('PK\x03\x04'.repeat(20)), 'no packed recording');
  await refused(Buffer.alloc(0), 'no packed recording');
});

unpacking('a signature is as format.ts describes it, and where it says', async () => {
  const { privateKey, publicKey: verifyKey } = generateKeyPairSync('ed25519');
  const spki = verifyKey.export({ type: 'spki', format: 'der' });
  const id = createHash('sha256').update(spki).digest();
  const before = Buffer.concat([header(2), infoOf(PARTS), ...PARTS.map(member)]);
  const sum = createHash('sha256').update(before).digest();
  const signed = sign(null, Buffer.concat([Buffer.from('understudy pack 2\n'), sum]), privateKey);
  const signature = frame(SIGNATURE, Buffer.concat([id, signed]));
  const verified = async (bytes: Buffer): Promise<string> => {
    writeFileSync(file, bytes);
    const options = { file, out, onProgress: () => {}, verifyKey };
    const result = await unpack(options, new AbortController().signal).catch((error) => error);
    rmSync(out, { recursive: true, force: true });
    return result instanceof UnderstudyError ? result.code : `verified ${result.isVerified}`;
  };
  assert.is(await verified(seal(before, signature)), 'verified true');
  assert.is(await tryUnpack(seal(before, signature)), null);
  rmSync(out, { recursive: true });
  assert.is(await verified(GOOD), 'pack-signature');
  assert.is(await verified(seal(before)), 'pack-corrupt');
  assert.is(await verified(seal(before, signature, signature)), 'pack-signature');
  const early = [header(2), infoOf(PARTS), signature, ...PARTS.map(member)];
  assert.is(await verified(seal(...early)), 'pack-corrupt');
  await refused(seal(before), /its signature: a frame of type 5/);
});

unpacking('paths that would leave the folder', async () => {
  for (const path of ['../x', '/x', 'a/../../x', '.', '..', 'a//b', '', 'a\\b', 'a\0b', '.x']) {
    await refused(packOf([whole(path, 'x')]), 'leave the folder');
    assert.not.ok(isSafePath(path));
  }
  assert.ok(isSafePath('checkpoints/123/ram.zst'));
});

unpacking('members that get in each other’s way', async () => {
  await refused(packOf([...PARTS, whole('kernel', 'y')]), /kernel.*two of that name/);
  await refused(packOf([...PARTS, whole('kernel/x', 'y')]), /kernel\/x.*two of that name/);
});

unpacking('contents that cannot be', async () => {
  const one = (...frames: Buffer[]): Buffer =>
    seal(header(), info(1, SMALL), json(MEMBER, { path: 'kernel', bytes: 10 }), ...frames);
  await refused(one(data(8, Buffer.from('xyz'))), /cannot be in it/);
  await refused(one(data(2 ** 52, Buffer.from('x'))), /cannot be in it/);
  await refused(one(data(4, Buffer.from('x')), data(0, Buffer.from('x'))), /cannot be in it/);
  const bomb = brotliCompressSync(Buffer.alloc(50 << 20));
  await refused(one(data(0, Buffer.from('0123456789'), bomb)), /cannot be decompressed/);
  await refused(one(json(MEMBER, { path: 'x', bytes: 0 })), /in the middle of it/);
  await refused(seal(header(), info(1)), /frame of type 5/);
  await refused(seal(header(), info(0), member(whole('x', 'x'))), /its end/);
});

unpacking('more than it says: it ends there, before the disk is full', async () => {
  const says = (more: object): Buffer => seal(header(), infoOf(PARTS, more), ...PARTS.map(member));
  assert.is(await tryUnpack(says({})), null);
  rmSync(out, { recursive: true });
  await refused(says({ bytes: DISK_BYTES }), /disks\/0\.raw.* all of it was to be 67108864 bytes/);
  await refused(says({ disk_bytes: 20_000 }), /disks\/0\.raw.* to be 20000 bytes, and is more/);
  // A bomb: each megabyte of it is 20 bytes of the file.
  const mib = Buffer.alloc(1 << 20, 'A');
  const extents = Array.from({ length: 64 }, (_, at) => [at << 20, mib] as const);
  const bomb: Part = { path: 'disks/0.raw', bytes: 64 << 20, extents };
  const file = seal(header(), infoOf([bomb], { disk_bytes: 4096 }), member(bomb));
  assert.ok(file.length < 8192, `${file.length} bytes`);
  await refused(file, /disks\/0\.raw.* to be 4096 bytes/);
});

unpacking('a folder that another made under the partial name is left', async () => {
  const others = join(dir, `.out.partial-${process.pid}`);
  mkdirSync(others);
  writeFileSync(join(others, 'kept'), '');
  writeFileSync(file, GOOD);
  const error = await unpack(
    { file, out, onProgress: () => {} },
    new AbortController().signal,
  ).catch((cause) => cause);
  assert.ok(error instanceof UnderstudyError, String(error));
  assert.equal(readdirSync(others), ['kept']);
  rmSync(others, { recursive: true });
});

unpacking('a file that is sound and no recording', async () => {
  await refused(packOf([whole('kernel', 'x')]), /no recording.*vm\.json/);
});

unpacking('more than the disk holds', async () => {
  const bytes = seal(header(), info(0, { disk_bytes: Number.MAX_SAFE_INTEGER }));
  await refused(bytes, /free, the recording needs 9010 TB|needs/, 'disk-full');
});

unpacking('a target that is there', async () => {
  writeFileSync(out, '');
  const failing = unpack({ file, out, onProgress: () => {} }, new AbortController().signal);
  const error = await failing.catch((cause: UnderstudyError) => cause);
  assert.is((error as UnderstudyError).code, 'output-exists');
  assert.ok(existsSync(out));
});

unpacking('an interruption leaves nothing', async () => {
  const abort = new AbortController();
  writeFileSync(file, GOOD);
  const onProgress = (): void => abort.abort(new UnderstudyError('interrupted', 'stop'));
  const error = await unpack({ file, out, onProgress }, abort.signal).catch((cause) => cause);
  assert.is(error.code, 'interrupted');
  assert.equal(readdirSync(dir), ['x.udpack']);
});

unpacking.run();
