// SPDX-License-Identifier: Apache-2.0
/** Disk images that cannot be used, each with its code; locks; sparse copies. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { parseConfig, type VmConfig } from '../../src/vm/config.ts';
import { claimDisks, copySparse } from '../../src/vm/disk.ts';

const disks = suite<{ dir: string }>('disk images');

disks.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-disk-'));
});
disks.after.each((context) => {
  rmSync(context.dir, { recursive: true, force: true });
});

function vm(dir: string, ...images: string[]): VmConfig {
  const tables = images.map((image) => `[[disk]]\nimage = "${image}"`).join('\n');
  return parseConfig(`name = "a"\n${tables}`, join(dir, 'VM.toml'));
}

function image(dir: string, name: string, bytes = 1 << 20): string {
  const path = join(dir, name);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

function refusal(config: VmConfig): UnderstudyError {
  try {
    claimDisks(config).release();
  } catch (error) {
    assert.instance(error, UnderstudyError, String(error));
    return error as UnderstudyError;
  }
  throw new Error('it was accepted');
}

disks('a good one is taken and given back', ({ dir }) => {
  image(dir, 'd');
  claimDisks(vm(dir, 'd')).release();
  claimDisks(vm(dir, 'd')).release();
});

disks('missing', ({ dir }) => {
  const error = refusal(vm(dir, 'gone.raw'));
  assert.is(error.code, 'image-missing');
  assert.match(error.message, join(dir, 'gone.raw'));
});

disks('a folder', ({ dir }) => {
  mkdirSync(join(dir, 'd'));
  assert.is(refusal(vm(dir, 'd')).code, 'image-not-a-file');
});

disks('empty, or not whole sectors', ({ dir }) => {
  image(dir, 'empty', 0);
  image(dir, 'odd', 513);
  assert.is(refusal(vm(dir, 'empty')).code, 'image-size');
  assert.is(refusal(vm(dir, 'odd')).code, 'image-size');
});

disks('a qcow2 under a raw name', ({ dir }) => {
  writeFileSync(
    join(dir, 'd'),
    Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(508)]),
  );
  const error = refusal(vm(dir, 'd'));
  assert.is(error.code, 'image-not-a-file');
  assert.match(error.message, /qcow2/);
});

disks('read-only', ({ dir }) => {
  chmodSync(image(dir, 'd'), 0o444);
  assert.is(refusal(vm(dir, 'd')).code, 'image-read-only');
});

disks('one image twice: by name, link and hard link', ({ dir }) => {
  image(dir, 'd');
  symlinkSync('d', join(dir, 'soft'));
  linkSync(join(dir, 'd'), join(dir, 'hard'));
  for (const other of ['d', 'soft', 'hard']) {
    const error = refusal(vm(dir, 'd', other));
    assert.is(error.code, 'image-shared');
    assert.match(error.message, join(dir, other));
  }
});

disks('shared with another VM or side of this process', ({ dir }) => {
  image(dir, 'd');
  const claim = claimDisks(vm(dir, 'd'));
  const error = refusal(vm(dir, 'd'));
  assert.is(error.code, 'image-in-use');
  assert.is(error.exitCode, 1);
  claim.release();
  claimDisks(vm(dir, 'd')).release();
});

disks('held by another process, which is named', async ({ dir }) => {
  const path = image(dir, 'd');
  const holder = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo locked; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(holder.stdout, 'data');
    const error = refusal(vm(dir, 'd'));
    assert.is(error.code, 'image-in-use');
    assert.match(error.message, String(holder.pid));
  } finally {
    holder.kill('SIGKILL');
    holder.stdout.destroy();
  }
});

disks('copies keep holes and content', async ({ dir }) => {
  const path = image(dir, 'd', 64 << 20);
  writeFileSync(path, 'start', { flag: 'r+' });
  await copySparse(path, join(dir, 'copy'));
  const copy = statSync(join(dir, 'copy'));
  assert.is(copy.size, 64 << 20);
  assert.ok(copy.blocks * 512 < 1 << 20, `${copy.blocks} blocks`);
  assert.is(readFileSync(join(dir, 'copy')).subarray(0, 5).toString(), 'start');
});

disks.run();
