// SPDX-License-Identifier: Apache-2.0
/** Checkpoints: when, which there are, and that a damaged one is never used. */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount, icountOf } from '../../src/base/position.ts';
import {
  type Checkpoint,
  CheckpointFinder,
  listCheckpoints,
  readManifest,
  readOutlines,
} from '../../src/checkpoint/manifest.ts';
import { applyDisks } from '../../src/checkpoint/start.ts';
import { checkCheckpointable, checkpointNumbers } from '../../src/vm/checkpointing.ts';
import { writeCheckpoint } from '../lib/written-checkpoint.ts';

const periods = suite('checkpoint period');

periods('a time or a number of instructions', () => {
  assert.is(checkpointNumbers('10s')?.everyMs, 10_000);
  assert.is(checkpointNumbers('2.5s')?.everyMs, 2500);
  assert.is(checkpointNumbers('500ms')?.everyMs, 500);
  assert.is(checkpointNumbers('1e9i')?.everyInstructions, 1e9);
  assert.is(checkpointNumbers('250000000i')?.everyInstructions, 250e6);
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
  const plain = { file: 'VM.toml', accel: 'tcg', vga: false, nics: [], disks: [] } as const;
  const disk = { image: 'a', format: 'raw' } as const;
  const nic = { mac: '', backend: { kind: 'user' } } as const;
  checkCheckpointable({ ...plain, disks: [{ ...disk, interface: 'virtio-blk' }] });
  checkCheckpointable({ ...plain, nics: [{ ...nic, model: 'virtio-net-pci' }] });
  assert.throws(() => checkCheckpointable({ ...plain, vga: true }), /VGA/);
  checkCheckpointable({ ...plain, accel: 'tcg-multi', vga: true });
  for (const kind of ['ide', 'ahci'] as const) {
    const config = { ...plain, disks: [{ ...disk, interface: kind }] };
    assert.throws(() => checkCheckpointable(config), /IDE and AHCI/);
  }
  const config = { ...plain, nics: [{ ...nic, model: 'e1000' as const }] };
  assert.throws(() => checkCheckpointable(config), /e1000/);
});

devices.run();

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
  writeCheckpoint(context.base, { icount: 100, parent: null });
  writeCheckpoint(context.base, { icount: 200, parent: 100 });
  writeCheckpoint(context.base, { icount: 300, parent: 200 });
  writeCheckpoint(context.base, { icount: 1000, parent: null });
});

chains.after.each(({ base }) => rmSync(base, { recursive: true, force: true }));

const icounts = (chain: readonly Checkpoint[]): number[] =>
  chain.map(({ manifest }) => Number(icountOf(manifest.point)));

chains('the newest at or before, full one first', async ({ base }) => {
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(atIcount(999n))), [100, 200, 300]);
  assert.equal(icounts(await finder.chainBefore(atIcount(300n))), [100, 200, 300]);
  assert.equal(icounts(await finder.chainBefore(atIcount(299n))), [100, 200]);
  assert.equal(icounts(await finder.chainBefore(atIcount(5000n))), [1000]);
  assert.equal(icounts(await finder.chainBefore(atIcount(99n))), []);
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
    assert.equal(icounts(await finder.chainBefore(atIcount(999n))), [100, 200]);
    assert.is(finder.rejected.length, 1);
    assert.is(finder.rejected[0]?.point, atIcount(300n));
    assert.match(finder.rejected[0]?.reason ?? '', reason);
    writeFileSync(path, before);
  }
});

chains('a damaged one takes those with it that add to it', async ({ base }) => {
  flip(join(base, '200', 'ram'), 3);
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(atIcount(999n))), [100]);
  assert.equal(finder.rejected.map(({ point }) => Number(icountOf(point))).sort(), [200, 300]);
  assert.match(
    finder.rejected.find(({ point }) => icountOf(point) === 300n)?.reason ?? '',
    /at 200/,
  );
});

chains('a file that is missing or cut short', async ({ base }) => {
  rmSync(join(base, '1000', 'ram'));
  const path = join(base, '300', 'ram');
  writeFileSync(path, readFileSync(path).subarray(1));
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(atIcount(5000n))), [100, 200]);
});

chains('a chain that points at itself or forward is refused', async ({ base }) => {
  writeCheckpoint(base, { icount: 2000, parent: 2000 });
  writeCheckpoint(base, { icount: 3000, parent: 4000 });
  const finder = new CheckpointFinder(base);
  assert.equal(icounts(await finder.chainBefore(atIcount(9999n))), [1000]);
});

chains('rejected for what the log says, it is not offered again', async ({ base }) => {
  const finder = new CheckpointFinder(base);
  await finder.chainBefore(atIcount(999n));
  finder.reject(atIcount(300n), 'the log does not have it');
  assert.equal(icounts(await finder.chainBefore(atIcount(999n))), [100, 200]);
});

chains('one of another format is refused by name, with what to do', async ({ base }) => {
  for (const format of [1, 2, 4]) {
    writeCheckpoint(base, { icount: 2000, parent: null, format });
    const finder = new CheckpointFinder(base);
    assert.equal(icounts(await finder.chainBefore(atIcount(2000n))), [1000]);
    const reason = finder.rejected[0]?.reason ?? '';
    assert.match(reason, `it is of format ${format} and this version reads 3`);
    assert.match(reason, /this one at power-on, with the QEMU of that version/);
  }
});

chains(
  'what they say of themselves can be read of any format, and half a one is counted',
  ({ base }) => {
    assert.equal(readOutlines(join(base, 'none')), { outlines: [], unreadable: 0 });
    writeCheckpoint(base, { icount: 50, parent: null, format: 1 });
    mkdirSync(join(base, '600'));
    writeFileSync(join(base, '600', 'manifest.json'), '{"icount": 6');
    mkdirSync(join(base, '700.partial'));
    const { outlines, unreadable } = readOutlines(base);
    assert.is(unreadable, 1);
    assert.is(outlines.length, listCheckpoints(base).length - 1);
    const first = outlines[0];
    assert.equal([first?.point, first?.vtimeNs, first?.kind], [atIcount(50n), 100n, 'full']);
    assert.is(first?.digest, '0123456789abcdef');
  },
);

chains.run();

/** What zstd 1.5.4 makes of 100 × "a", 100 × "b": decoders read it for ever. */
const FRAME = Buffer.from('28b52ffd20c865000018616162020000a4e2278005', 'hex');
const CONTENT = 'a'.repeat(100) + 'b'.repeat(100);

/** A run as checkpoint-disk.c writes one. */
function diskRun(offset: number, bytes: number, stored: string | Buffer): Buffer {
  const data = Buffer.from(stored);
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(offset), 0);
  head.writeUInt32LE(bytes, 8);
  head.writeUInt32LE(data.length, 12);
  return Buffer.concat([head, data]);
}

function diskFile(...runs: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('UXCKDSK3'), ...runs]);
}

const disks = suite<Place>('disks of a checkpoint');

disks.before.each((context) => {
  context.base = mkdtempSync(join(tmpdir(), 'understudy-checkpoints-'));
  writeCheckpoint(context.base, { icount: 100, parent: null });
  writeCheckpoint(context.base, { icount: 200, parent: 100 });
});

disks.after.each(({ base }) => rmSync(base, { recursive: true, force: true }));

/** The image after both have been applied to dashes, or why not. */
async function applied(
  base: string,
  first: Buffer,
  second: Buffer,
  imageBytes = 10,
): Promise<string> {
  writeFileSync(join(base, '100', 'disk0'), first);
  writeFileSync(join(base, '200', 'disk0'), second);
  const image = join(base, 'image');
  writeFileSync(image, '-'.repeat(imageBytes));
  const chain = ['100', '200'].map((name) => {
    const dir = join(base, name);
    return { dir, manifest: readManifest(dir) };
  });
  return applyDisks(chain, [image]).then(
    () => readFileSync(image, 'latin1'),
    (error: unknown) => String(error),
  );
}

disks('clusters over the copy, chain in order', async ({ base }) => {
  const first = diskFile(diskRun(2, 4, 'aaaa'));
  const second = diskFile(diskRun(4, 2, 'bb'), diskRun(8, 1, 'c'));
  assert.is(await applied(base, first, second), '--aabb--c-');
});

disks('compressed ones, and zeros', async ({ base }) => {
  const first = diskFile(diskRun(4, 200, FRAME), diskRun(300, 10, ''));
  const second = diskFile(diskRun(6, 3, ''));
  const expected = `----aa\0\0\0${CONTENT.slice(5)}`.padEnd(300, '-').padEnd(310, '\0');
  assert.is(await applied(base, first, second, 310), expected);
});

disks('a GiB of zeros is a hole, in a file of the format before it is none', async ({ base }) => {
  const zeros = diskRun(4096, 2 ** 30, '');
  const image = join(base, 'image');
  writeFileSync(image, Buffer.alloc(2 ** 20, 'a'));
  truncateSync(image, 4096 + 2 ** 30);
  writeFileSync(join(base, '100', 'disk0'), diskFile(zeros));
  const dir = join(base, '100');
  await applyDisks([{ dir, manifest: readManifest(dir) }], [image]);
  const { size, blocks } = statSync(image);
  assert.is(size, 4096 + 2 ** 30);
  assert.ok(blocks < 64, `${blocks} blocks`);
  const old = (...runs: Buffer[]) => Buffer.concat([Buffer.from('UXCKDSK2'), ...runs]);
  const short = old(diskRun(2, 4, ''), diskRun(8, 1, 'c'));
  assert.is(await applied(base, diskFile(), short), '--\0\0\0\0--c-');
  assert.match(await applied(base, diskFile(), old(zeros)), /a cluster that is none/);
});

disks('what is none, of an old format, cut short or damaged is refused', async ({ base }) => {
  const good = diskFile();
  const none = /disk0 is no disk of a checkpoint that this version reads/;
  assert.match(await applied(base, good, Buffer.from('not a disk')), none);
  assert.match(await applied(base, good, Buffer.from('UXCK')), none);
  assert.match(await applied(base, good, Buffer.from('UXCKDSK1')), none);
  const whole = diskFile(diskRun(0, 200, FRAME));
  for (const bytes of [9, 23, 30, whole.length - 1]) {
    assert.match(await applied(base, good, whole.subarray(0, bytes)), /disk0 is cut short/);
  }
  for (const bytes of [199, 201]) {
    const other = diskFile(diskRun(0, bytes, FRAME));
    assert.match(await applied(base, good, other, 400), /a cluster that does not decompress/);
  }
  const broken = Buffer.from(FRAME);
  broken.writeUInt8(0xff, 9);
  assert.match(await applied(base, good, diskFile(diskRun(0, 200, broken)), 400), /not decompress/);
  assert.match(await applied(base, good, diskFile(diskRun(0, 4, 'too long'))), /that is none/);
  assert.match(await applied(base, good, diskFile(diskRun(0, 2 ** 30 + 1, ''))), /that is none/);
});

disks(
  'what is behind the end of the disk is refused, and the image stays as long',
  async ({ base }) => {
    const behind = /disk0 has \d+ bytes at \d+, the disk 10/;
    const far = Buffer.from(diskRun(0, 4, 'abcd'));
    far.writeBigUInt64LE(2n ** 64n - 2n, 0); // its end is before its begin
    for (const run of [diskRun(8, 3, 'abc'), diskRun(8, 3, ''), diskRun(11, 1, ''), far]) {
      assert.match(await applied(base, diskFile(), diskFile(run)), behind);
      assert.is(statSync(join(base, 'image')).size, 10);
    }
    assert.is(await applied(base, diskFile(), diskFile(diskRun(8, 2, 'ab'))), '--------ab');
  },
);

disks('a file that is not there is named', async ({ base }) => {
  const dir = join(base, '100');
  const chain = [{ dir, manifest: readManifest(dir) }];
  const failed = await applyDisks(chain, [join(base, 'image')]).catch((error: unknown) => error);
  assert.match(String(failed), /image.*disk0.*No such file/);
});

disks.run();
