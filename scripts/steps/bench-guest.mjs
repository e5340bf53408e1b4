// SPDX-License-Identifier: Apache-2.0
// What the benchmarks need besides the reference guest: an init that tells what it
// measures, and disks with Debian systems on them: a compiler with a source tree, and
// servers. Made on first use by the benchmarks; nothing else builds it.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostMirrors, osRelease, PrivateApt, sourceLines } from '../lib/apt.mjs';
import { ContentHash, cacheDir, readJson } from '../lib/cache.mjs';
import { guestDir, guestKey } from '../lib/guest-key.mjs';
import { made } from '../lib/made.mjs';
import { run, StepError } from '../lib/run.mjs';
import { treeImage } from '../lib/tree-image.mjs';
import { initDatabase } from './bench-database.mjs';
import { guestStep } from './guest.mjs';
import { initrdWith } from './other-init.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const init = join(root, 'bench', 'guest', 'init.bench');

const MIB = 2 ** 20;
const LIBRARIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'];

/**
 * A disk's system: its packages, those of what they depend on that it does without, and
 * what is made of it; `host`: programs that the host runs against it.
 */
const SYSTEMS = {
  compile: {
    packages: ['gcc', 'libc6-dev', 'make', 'dash', 'coreutils'],
    without: /^(perl|libperl|tar$|libasan|libtsan|liblsan|libubsan)/,
    host: [],
    async finish(tree, apt, work, progress) {
      await apt.update({});
      const [version] = apt.sourceVersions('bzip2');
      if (version === undefined)
        throw new StepError('Debian source package bzip2 is not in the mirror');
      progress.note(`downloading the source of bzip2 ${version}`);
      await apt.downloadSource('bzip2', version, work);
      const tar = readdirSync(work).find((name) => /^bzip2_.*\.orig\.tar\.\w+$/.test(name));
      if (tar === undefined) throw new StepError('the source of bzip2 has no .orig.tar');
      mkdirSync(join(tree, 'src'));
      await run('tar', ['-xf', join(work, tar), '-C', join(tree, 'src'), '--strip-components=1']);
    },
  },
  services: {
    packages: ['redis-server', 'postgresql-15', 'dash', 'coreutils', 'tzdata'],
    // The JIT's compiler, and scripts that administer clusters.
    without: /^(libllvm|llvm|libz3|perl|libperl|postgresql-(client-)?common|ssl-cert|openssl)/,
    host: ['usr/bin/redis-benchmark', 'usr/lib/postgresql/15/bin/pgbench'],
    finish: async (tree, _apt, _work, progress) => {
      progress.note('making its database');
      initDatabase(tree);
    },
  },
};

/**
 * The reference guest's initrd with the benchmarks' init in it.
 * @returns its path; the kernel's command line must have rdinit=/init.bench
 */
export async function benchInitrd(progress) {
  return await initrdWith('bench-initrd', init, progress);
}

/** An empty ext4 of so many MiB, the reference guest's made larger. @returns its path */
export async function benchDisk(mib, progress) {
  const key = new ContentHash().add('reference', guestKey()).add('mib', String(mib)).digest();
  return await made('bench-disk', key, 'disk.raw', 3, progress, async (dir) => {
    await guestStep(progress);
    const disk = join(dir, 'disk.raw');
    await run('cp', ['--sparse=always', join(cacheDir(), 'guest', guestKey(), 'disk.raw'), disk]);
    truncateSync(disk, mib * MIB);
    await run('resize2fs', ['-f', disk], { env: { E2FSPROGS_FAKE_TIME: '1700000000' } });
  });
}

/**
 * A disk with a Debian system on it. Needs root: it has device files, and a database that
 * its own programs make.
 * @param {'compile' | 'services'} name
 * @returns its image, and the folder of the programs for the host, by name
 */
export async function benchSystem(name, progress) {
  const { suite } = readJson(join(guestDir, 'guest.json'));
  const key = new ContentHash()
    .addFile(fileURLToPath(import.meta.url), 'bench-guest.mjs')
    .addFile(fileURLToPath(import.meta.resolve('./bench-database.mjs')), 'bench-database.mjs')
    .addFile(fileURLToPath(import.meta.resolve('../lib/tree-image.mjs')), 'tree-image.mjs')
    .add('suite', suite)
    .digest();
  const base = `bench-${name}`;
  const image = await made(base, key, 'disk.raw', 1, progress, (dir) =>
    assemble(dir, SYSTEMS[name], suite, progress),
  );
  return { image, host: join(dirname(image), 'host') };
}

async function assemble(dir, system, suite, progress) {
  if (process.getuid?.() !== 0) throw new StepError('it has device files, which only root makes');
  const work = mkdtempSync(join(tmpdir(), 'understudy-bench-guest-'));
  try {
    const tree = join(work, 'root');
    const apt = aptFor(suite);
    await apt.binary.update({});
    await unpack(apt.binary, system, work, tree, progress);
    furnish(tree);
    await system.finish(tree, apt.source, work, progress);
    progress.note('making its file system');
    await treeImage(tree, join(dir, 'disk.raw'));
    for (const program of system.host) takeProgram(tree, program, join(dir, 'host'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function aptFor(codename) {
  const mirrors = hostMirrors(osRelease().codename);
  const components = 'main non-free'; // as the reference guest: they share package lists
  const source = sourceLines(mirrors, { type: 'deb-src', codename, components: 'main' });
  return {
    binary: new PrivateApt('guest', sourceLines(mirrors, { codename, components })),
    source: new PrivateApt('guest-source', source),
  };
}

async function unpack(apt, { packages, without }, work, tree, progress) {
  const wanted = apt.closure(packages).filter(({ name }) => !without.test(name));
  progress.note(`downloading ${wanted.length} packages`);
  const onLine = (line) => progress.tick(line);
  await apt.download(
    wanted.map(({ name, version }) => `${name}=${version}`),
    work,
    onLine,
  );
  progress.note('unpacking');
  mkdirSync(tree);
  for (const deb of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', join(work, deb), tree]);
  }
}

/** What the packages' scripts would have made, as far as these programs need it. */
function furnish(tree) {
  for (const name of ['proc', 'dev', 'tmp', 'etc', 'bin', 'run']) {
    mkdirSync(join(tree, name), { recursive: true });
  }
  chmodSync(join(tree, 'tmp'), 0o1777);
  if (!existsSync(join(tree, 'bin/sh'))) symlinkSync('dash', join(tree, 'bin/sh'));
  writeFileSync(
    join(tree, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\npostgres:x:101:101::/var/lib/postgresql:/bin/sh\n',
  );
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\npostgres:x:101:\n');
  for (const [name, minor] of [
    ['null', 3],
    ['zero', 5],
    ['urandom', 9],
  ]) {
    execFileSync('mknod', ['-m', '666', join(tree, 'dev', name), 'c', '1', String(minor)]);
  }
}

/** Copies a program with its libraries and its loader; `NAME` runs it, wherever it is. */
function takeProgram(tree, program, host) {
  const libraries = join(host, 'lib');
  mkdirSync(libraries, { recursive: true });
  const loader = realLoader(tree);
  const path = LIBRARIES.map((name) => join(tree, name)).join(':');
  const text = execFileSync(loader, ['--library-path', path, '--list', join(tree, program)], {
    encoding: 'utf8',
  });
  for (const [, file] of text.matchAll(/=> (\/\S+) \(/g)) {
    copyFileSync(file, join(libraries, basename(file)));
  }
  copyFileSync(loader, join(libraries, 'loader'));
  const name = basename(program);
  copyFileSync(join(tree, program), join(libraries, name));
  for (const file of ['loader', name]) chmodSync(join(libraries, file), 0o755);
  const script = [
    '#!/bin/sh',
    'lib=$(dirname "$0")/lib',
    `exec "$lib/loader" --library-path "$lib" "$lib/${name}" "$@"`,
  ];
  writeFileSync(join(host, name), `${script.join('\n')}\n`, { mode: 0o755 });
}

function realLoader(tree) {
  const dir = join(tree, 'lib/x86_64-linux-gnu');
  const name = readdirSync(dir).find((file) => /^ld-linux-x86-64\.so/.test(file));
  if (name === undefined) throw new StepError('the packages have no loader');
  return join(dir, name);
}
