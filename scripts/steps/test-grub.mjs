// SPDX-License-Identifier: Apache-2.0
// GRUB for tests that boot from a disk as an installed system does: what
// grub-install would write, from Debian's packages, which are not installed.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostMirrors, osRelease, PrivateApt, sourceLines } from '../lib/apt.mjs';
import { ContentHash, cacheDir, prune, publishDir, readJson, withLock } from '../lib/cache.mjs';
import { guestDir } from '../lib/guest-key.mjs';
import { run } from '../lib/run.mjs';

// The library is what grub-mkimage needs and a small host lacks.
const PACKAGES = ['grub-common', 'grub-pc-bin', 'libdevmapper1.02.1'];
// What reaches the folder with the others; `normal` reads its grub.cfg.
const MODULES = ['biosdisk', 'part_msdos', 'ext2', 'normal'];
const PREFIX = '(,msdos1)/boot/grub';

export async function testGrub(progress) {
  const { suite } = readJson(join(guestDir, 'guest.json'));
  const key = new ContentHash()
    .addFile(fileURLToPath(import.meta.url), 'test-grub.mjs')
    .add('suite', suite)
    .digest();
  const base = join(cacheDir(), 'test-grub');
  const target = join(base, key);
  const paths = {
    boot: join(target, 'boot.img'),
    core: join(target, 'core.img'),
    modules: join(target, 'i386-pc'),
    font: join(target, 'euro.pf2'),
  };
  if (existsSync(target)) return paths;
  progress.begin('GRUB for tests');
  mkdirSync(base, { recursive: true });
  await withLock(join(base, `${key}.lock`), async () => {
    if (existsSync(target)) return;
    await publishDir(target, (dir) => assemble(dir, suite));
    prune(base, key, 1);
  });
  progress.end();
  return paths;
}

async function assemble(dir, suite) {
  const work = mkdtempSync(join(tmpdir(), 'understudy-test-grub-'));
  try {
    const { codename } = osRelease();
    const components = 'main non-free'; // as the reference guest: they share package lists
    const lines = sourceLines(hostMirrors(codename), { codename: suite, components });
    const apt = new PrivateApt('guest', lines);
    await apt.update({});
    await apt.download(
      PACKAGES.map((name) => `${name}=${apt.candidate(name)}`),
      work,
    );
    const root = join(work, 'root');
    for (const deb of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', join(work, deb), root]);
    }
    const modules = join(root, 'usr/lib/grub/i386-pc');
    const core = ['-O', 'i386-pc', '-d', modules, '-p', PREFIX, '-o', join(dir, 'core.img')];
    await run(join(root, 'usr/bin/grub-mkimage'), [...core, ...MODULES], {
      env: { LD_LIBRARY_PATH: join(root, 'lib/x86_64-linux-gnu') },
    });
    copyFileSync(join(modules, 'boot.img'), join(dir, 'boot.img'));
    copyFileSync(join(root, 'usr/share/grub/euro.pf2'), join(dir, 'euro.pf2'));
    cpSync(modules, join(dir, 'i386-pc'), {
      recursive: true,
      filter: (path) => path === modules || /\.(mod|lst)$/.test(path),
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
