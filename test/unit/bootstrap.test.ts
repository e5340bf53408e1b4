// SPDX-License-Identifier: Apache-2.0
/** The bootstrap's own logic: hashes, locks, mirrors, patches, archives. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mirrorsFrom, osRelease, PrivateApt } from '#scripts/lib/apt.mjs';
import { ContentHash, publishDir, withLock } from '#scripts/lib/cache.mjs';
import { Cpio } from '#scripts/lib/cpio.mjs';
import { HOST_PACKAGES, missingFrom } from '#scripts/lib/host-packages.mjs';
import { made } from '#scripts/lib/made.mjs';
import { Progress } from '#scripts/lib/progress.mjs';
import { treeImage } from '#scripts/lib/tree-image.mjs';
import { extractVmlinux } from '#scripts/lib/vmlinux.mjs';
import { chooseVersion, filesOfPatch } from '#scripts/steps/qemu-source.mjs';

const bootstrap = suite('bootstrap');
/** mke2fs and its like are there, and a plain user's PATH may not name it. */
const WITH_SBIN = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
let dir = '';

bootstrap.before.each(() => {
  dir = mkdtempSync(join(tmpdir(), 'understudy-test-'));
});
bootstrap.after.each(() => {
  rmSync(dir, { recursive: true, force: true });
});

bootstrap('a content hash tells names, contents and their border apart', () => {
  const of = (...parts: [string, string][]) => {
    const hash = new ContentHash();
    for (const [name, content] of parts) hash.add(name, content);
    return hash.digest();
  };
  assert.is(of(['a', 'b']), of(['a', 'b']));
  assert.is.not(of(['a', 'b']), of(['a', 'c']));
  assert.is.not(of(['a', 'bc']), of(['a', 'b'], ['', 'c']));
});

bootstrap("a guest's packages are the mirror's, whatever is installed here", async () => {
  // A repository of one package, which this host has in a newer version.
  writeFileSync(
    join(dir, 'Packages'),
    'Package: libc6\nVersion: 1.0\nArchitecture: amd64\nFilename: ./libc6.deb\nSize: 1\n' +
      `SHA256: ${'0'.repeat(64)}\nMaintainer: nobody\nDescription: none\n`,
  );
  const cache = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  try {
    const lines = [`deb [trusted=yes] file:${dir} ./`];
    const guest = new PrivateApt('guest', lines);
    await guest.update();
    assert.is(guest.candidate('libc6'), '1.0');
    assert.equal(guest.closure(['libc6']), [{ name: 'libc6', version: '1.0' }]);
    const host = new PrivateApt('host', lines, { forHost: true });
    await host.update();
    assert.is.not(host.candidate('libc6'), '1.0', 'what is installed counts for the host');
  } finally {
    if (cache === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = cache;
  }
});

bootstrap('a failed build leaves nothing under its final name', async () => {
  const target = join(dir, 'x');
  const failing = publishDir(target, () => Promise.reject(new Error('no')));
  assert.match(await failing.catch((error: Error) => error.message), 'no');
  assert.throws(() => readFileSync(target), /ENOENT/);
});

bootstrap('what the cache has not is made once, and of older builds so many stay', async () => {
  const cache = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  const progress = new Progress({ quietDone: true });
  const built: string[] = [];
  const make = (key: string): Promise<string> =>
    made('thing', key, 'file', 1, progress, (folder: string) => {
      built.push(key);
      writeFileSync(join(folder, 'file'), key);
      return Promise.resolve();
    });
  try {
    const paths: string[] = [];
    for (const key of ['a', 'a', 'b', 'c']) paths.push(await make(key));
    assert.equal(built, ['a', 'b', 'c']);
    assert.is(paths[0], paths[1]);
    assert.equal(
      paths.slice(2).map((path) => readFileSync(path, 'utf8')),
      ['b', 'c'],
    );
    assert.throws(() => readFileSync(paths[0] ?? ''), /ENOENT/);
  } finally {
    if (cache === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = cache;
  }
});

bootstrap("a system's folder becomes a sound, sparse disk without its manuals", async () => {
  const tree = join(dir, 'tree');
  const image = join(dir, 'disk.raw');
  for (const name of ['doc', 'perl']) {
    mkdirSync(join(tree, 'usr/share', name), { recursive: true });
    writeFileSync(join(tree, 'usr/share', name, 'file'), name);
  }
  await treeImage(tree, image);
  execFileSync('e2fsck', ['-fn', image], { stdio: 'ignore', env: WITH_SBIN });
  const shown = (path: string): string =>
    execFileSync('debugfs', ['-R', `cat ${path}`, image], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: WITH_SBIN,
    });
  assert.is(shown('/usr/share/perl/file'), 'perl');
  assert.is(shown('/usr/share/doc/file'), '');
  const { size, blocks } = statSync(image);
  assert.ok(blocks * 512 < size / 4, `${blocks * 512} of ${size} bytes are there`);
});

bootstrap('one at a time holds a lock; a dead holder loses it', async () => {
  const lock = join(dir, 'lock');
  let inside = 0;
  const body = async () => {
    inside += 1;
    assert.is(inside, 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    inside -= 1;
  };
  await Promise.all([withLock(lock, body), withLock(lock, body)]);
  const child = spawn('true');
  await new Promise((resolve) => child.on('exit', resolve));
  mkdirSync(lock);
  writeFileSync(join(lock, 'owner'), JSON.stringify({ pid: child.pid, start: '1' }));
  await withLock(lock, body);
});

bootstrap('mirrors are the ones this machine uses, the generic ones otherwise', () => {
  const targets = [
    'http://packages.example/other/|stable|main|Other',
    'http://mirror.example/debian/|bookworm|main|Debian',
    'http://mirror.example/debian/|bookworm|contrib|Debian',
    'http://security.example/debian-security/|bookworm-security|main|',
  ].join('\n');
  assert.equal(mirrorsFrom('bookworm', targets), {
    main: 'http://mirror.example/debian',
    security: 'http://security.example/debian-security',
  });
  assert.match(mirrorsFrom('bookworm', '').main, /deb\.debian\.org/);
});

bootstrap('os-release with and without quotes', () => {
  const text = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n';
  assert.equal(osRelease(text), { id: 'debian', version: '12', codename: 'bookworm' });
});

bootstrap('a package that is missing, removed or too old has to be installed', () => {
  const listing = HOST_PACKAGES.filter((name) => name !== 'flex')
    .map((name) => `${name} ${name === 'bison' ? 'config-files' : 'installed'} 1.0`)
    .join('\n');
  const missing = missingFrom(listing, () => false);
  assert.equal(missing.sort(), ['bison', 'flex', 'meson']);
});

bootstrap('the pinned QEMU, else the newest of its series, else an error that lists all', () => {
  const pin = { version: '1:10.0.13+ds-1', series: '10.0' };
  assert.is(chooseVersion(['1:10.0.14+ds-1', '1:10.0.13+ds-1'], pin), '1:10.0.13+ds-1');
  assert.is(chooseVersion(['1:11.0.0', '1:10.0.14+ds-1', '1:10.0.2'], pin), '1:10.0.14+ds-1');
  assert.throws(() => chooseVersion(['1:7.2'], pin), /only: 1:7\.2/);
});

bootstrap('files that a patch touches, new and deleted ones too', () => {
  const patch = [
    '--- a/meson.build\t2026-01-01',
    '+++ b/meson.build\t2026-01-01',
    '@@ -1 +1 @@',
    '--- /dev/null',
    '+++ b/exitlog/new.c',
    '--- a/old.c',
    '+++ /dev/null',
  ].join('\n');
  assert.equal(filesOfPatch(patch), ['meson.build', 'exitlog/new.c', 'old.c']);
});

bootstrap('a cpio archive is the same bytes in any order, and readable', () => {
  const make = (names: string[]) => {
    const cpio = new Cpio();
    for (const name of names) cpio.file(name, Buffer.from(name), 0o755);
    cpio.symlink('bin/sh', 'busybox');
    return cpio.bytes();
  };
  const bytes = make(['init', 'bin/busybox']);
  assert.ok(bytes.equals(make(['bin/busybox', 'init'])));
  assert.is(bytes.length % 4, 0);
  assert.is(bytes.toString('latin1', 0, 6), '070701');
  assert.ok(bytes.includes('TRAILER!!!'));
});

bootstrap('a kernel is found in LZ4 blocks with overlapping matches', () => {
  const elf = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46]), Buffer.alloc(100, 7)]);
  // Token: 5 literals, then a match at distance 1 of 99 bytes: 15 + 80 + 4.
  const block = Buffer.concat([
    Buffer.from([0x5f]),
    elf.subarray(0, 5),
    Buffer.from([1, 0, 80]),
    Buffer.from([0x00]),
  ]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32LE(0x184c2102, 0);
  frame.writeUInt32LE(block.length, 4);
  const image = Buffer.concat([
    Buffer.from('setup code'),
    frame,
    block,
    Buffer.from([104, 0, 0, 0]),
  ]);
  assert.ok(extractVmlinux(image)?.equals(elf));
  assert.is(extractVmlinux(Buffer.from('no kernel here')), undefined);
});

bootstrap('an unknown step is a usage error that names the steps', () => {
  const script = new URL('../../scripts/bootstrap.mjs', import.meta.url).pathname;
  try {
    execFileSync(process.execPath, [script, '--only', 'qmeu'], { stdio: 'pipe' });
    assert.unreachable();
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: Buffer };
    assert.is(status, 2);
    assert.match(stderr.toString(), /packages, npm, addon/);
  }
});

bootstrap.run();
