// SPDX-License-Identifier: Apache-2.0
/** Checkpoints: when, which there are, and that a damaged one is never used. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkCheckpointable, checkpointNumbers } from '../../src/epochs/checkpoints.ts';
import { applyDisks } from '../../src/replay/checkpoint-start.ts';
import {
  type Checkpoint,
  CheckpointFinder,
  listCheckpoints,
  readManifest,
} from '../../src/replay/checkpoints.ts';

const periods = suite('checkpoint period');

periods('a time or a number of instructions', () => {
  assert.is(checkpointNumbers('10s')?.everyMs, 10_000);
  assert.is(checkpointNumbers('2.5s')?.everyMs, 2500);
  assert.is(checkpointNumbers('500ms')?.everyMs, 500);
  assert.is(checkpointNumbers('1e9i')?.everyIcount, 1e9);
  assert.is(checkpointNumbers('250000000i')?.everyIcount, 250e6);
  assert.is(checkpointNumbers('1e9i')?.everyMs, 0);
});

periods('what is neither, or too often, is refused', () => {
  for (const text of ['', '10', 's', '-1s', '1e9', '0s', '1ms', '1000i', '1.5i', '1e99i', '5m']) {
    assert.is(checkpointNumbers(text), null, text);
  }
});

periods.run();

const devices = suite('checkpointable devices');

devices('what is not exact is refused by name before the VM starts', () => {
  const plain = { file: 'VM.toml', vga: false, nics: [], disks: [] };
  const disk = { image: 'a', format: 'raw' } as const;
  const nic = { mac: '', backend: { kind: 'user' } } as const;
  checkCheckpointable({ ...plain, disks: [{ ...disk, interface: 'virtio-blk' }] });
  checkCheckpointable({ ...plain, nics: [{ ...nic, model: 'virtio-net-pci' }] });
  assert.throws(() => checkCheckpointable({ ...plain, vga: true }), /VGA/);
  for (const kind of ['ide', 'ahci'] as const) {
    const config = { ...plain, disks: [{ ...disk, interface: kind }] };
    assert.throws(() => checkCheckpointable(config), /IDE and AHCI/);
  }
  const config = { ...plain, nics: [{ ...nic, model: 'e1000' as const }] };
  assert.throws(() => checkCheckpointable(config), /e1000/);
});

devices.run();

const hex = (value: number): string => value.toString(16).padStart(8, '0');

/** As checkpoint-write.c writes one. */
function writeCheckpoint(base: string, icount: number, parent: number | null): string {
  const dir = join(base, String(icount));
  mkdirSync(dir, { recursive: true });
  const files = ['state', 'ram'].map((name) => {
    const content = Buffer.from(`${name} of ${icount}`);
    writeFileSync(join(dir, name), content);
    return { name, bytes: content.length, crc32: hex(crc32(content)) };
  });
  const manifest = JSON.stringify({
    format: 1,
    icount,
    vtime_ns: icount * 2,
    ordinal: 7,
    data_offset: 64,
    kind: parent === null ? 'full' : 'incremental',
    parent,
    bytes: 1,
    digest: '0123456789abcdef',
    created_at: '2026-11-25T00:00:00Z',
    pause_ns: 1000,
    devices_ns: 500,
    files,
  }).slice(0, -1);
  writeFileSync(join(dir, 'manifest.json'), `${manifest},"checksum":"${hex(crc32(manifest))}"}\n`);
  return dir;
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at);
  writeFileSync(file, bytes);
}

interface Place {
  base: string;
}

const chains = suite<Place>('checkpoint chain');

chains.before.each((context) => {
  context.base = mkdtempSync(join(tmpdir(), 'understudy-checkpoints-'));
  writeCheckpoint(context.base, 100, null);
  writeCheckpoint(context.base, 200, 100);
  writeCheckpoint(context.base, 300, 200);
  writeCheckpoint(context.base, 1000, null);
});

chains.after.each(({ base }) => rmSync(base, { recursive: true, force: true }));

const icounts = (chain: readonly Checkpoint[]): number[] =>
  chain.map(({ manifest }) => Number(manifest.icount));

chains('the newest at or before, full one first', async ({ base }) => {
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(999n)), [100, 200, 300]);
  assert.equal(icounts(await finder.chainBefore(300n)), [100, 200, 300]);
  assert.equal(icounts(await finder.chainBefore(299n)), [100, 200]);
  assert.equal(icounts(await finder.chainBefore(5000n)), [1000]);
  assert.equal(icounts(await finder.chainBefore(99n)), []);
  assert.equal(finder.rejected, []);
});

chains('a folder that was never committed is no checkpoint', ({ base }) => {
  mkdirSync(join(base, '.400.partial'));
  assert.equal(listCheckpoints(base), [100n, 200n, 300n, 1000n]);
  assert.equal(listCheckpoints(join(base, 'none')), []);
});

chains('a flipped bit: the next older one, and it is said', async ({ base }) => {
  for (const [file, reason] of [
    ['ram', /ram does not have its checksum/],
    ['state', /state does not have its checksum/],
    ['manifest.json', /manifest\.json does not have its checksum/],
  ] as const) {
    const path = join(base, '300', file);
    const before = readFileSync(path);
    flip(path, 5);
    const finder = new CheckpointFinder(base);
    assert.equal(icounts(await finder.chainBefore(999n)), [100, 200]);
    assert.is(finder.rejected.length, 1);
    assert.is(finder.rejected[0]?.icount, 300n);
    assert.match(finder.rejected[0]?.reason ?? '', reason);
    writeFileSync(path, before);
  }
});

chains('a damaged one takes those with it that add to it', async ({ base }) => {
  flip(join(base, '200', 'ram'), 3);
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(999n)), [100]);
  assert.equal(finder.rejected.map(({ icount }) => Number(icount)).sort(), [200, 300]);
  assert.match(finder.rejected.find(({ icount }) => icount === 300n)?.reason ?? '', /at 200/);
});

chains('a file that is missing or cut short', async ({ base }) => {
  rmSync(join(base, '1000', 'ram'));
  const path = join(base, '300', 'ram');
  writeFileSync(path, readFileSync(path).subarray(1));
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(5000n)), [100, 200]);
});

chains('a chain that points at itself or forward is refused', async ({ base }) => {
  writeCheckpoint(base, 2000, 2000);
  writeCheckpoint(base, 3000, 4000);
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(9999n)), [1000]);
});

chains('rejected for what the log says, it is not offered again', async ({ base }) => {
  const finder = new CheckpointFinder(base);
  await finder.chainBefore(999n);
  finder.reject(300n, 'the log does not have it');
  assert.equal(icounts(await finder.chainBefore(999n)), [100, 200]);
});

chains('disks: clusters over the copy, chain in order', async ({ base }) => {
  const run = (offset: number, text: string): Buffer => {
    const head = Buffer.alloc(16);
    head.writeBigUInt64LE(BigInt(offset), 0);
    head.writeBigUInt64LE(BigInt(text.length), 8);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const magic = Buffer.from('UXCKDSK1');
  writeFileSync(join(base, '100', 'disk0'), Buffer.concat([magic, run(2, 'aaaa')]));
  writeFileSync(join(base, '200', 'disk0'), Buffer.concat([magic, run(4, 'bb'), run(8, 'c')]));
  const image = join(base, 'image');
  writeFileSync(image, '----------');
  const chain = ['100', '200'].map((name) => {
    const dir = join(base, name);
    return { dir, manifest: readManifest(dir) };
  });
  await applyDisks(chain, [image]);
  assert.is(readFileSync(image, 'utf8'), '--aabb--c-');
  writeFileSync(join(base, '200', 'disk0'), 'not a disk');
  const failed = await applyDisks(chain, [image]).catch((error: unknown) => error);
  assert.match(String(failed), /is no disk of a checkpoint/);
});

chains.run();
