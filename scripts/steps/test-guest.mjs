// SPDX-License-Identifier: Apache-2.0
// The test guest: the reference guest's programs with Debian's generic kernel.
//
// The reference guest boots Debian's cloud kernel, which has no driver for e1000
// or AHCI.  Tests of those devices need this one; nothing else builds it.

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ContentHash,
  cacheDir,
  listFiles,
  prune,
  publishDir,
  readJson,
  withLock,
} from '../lib/cache.mjs';
import { Cpio } from '../lib/cpio.mjs';
import { guestKey } from '../lib/guest-key.mjs';
import { GuestTools } from '../lib/guest-tools.mjs';
import { run, StepError } from '../lib/run.mjs';
import { addCompiled, guestApt, guestStep } from './guest.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const sources = join(root, 'test', 'guest');

/**
 * Builds the test guest unless the cache has it.
 * @returns its kernel, its initrd and what its command line must have
 */
export async function testGuest(progress) {
  const reference = guestKey();
  const key = new ContentHash()
    .addDir(sources, 'test-guest')
    .addFile(fileURLToPath(import.meta.url), 'test-guest.mjs')
    .add('reference', reference)
    .digest();
  const base = join(cacheDir(), 'test-guest');
  const target = join(base, key);
  const paths = {
    kernel: join(target, 'vmlinux'),
    initrd: join(target, 'initrd.gz'),
    append: 'rdinit=/init.test',
  };
  if (existsSync(paths.initrd)) return paths;
  progress.begin('test guest');
  await guestStep(progress);
  mkdirSync(base, { recursive: true });
  await withLock(join(base, `${key}.lock`), async () => {
    if (existsSync(paths.initrd)) return;
    await publishDir(target, (dir) =>
      assemble(dir, join(cacheDir(), 'guest', reference), progress),
    );
    prune(base, key, 1);
  });
  progress.end();
  return paths;
}

async function assemble(dir, reference, progress) {
  const spec = readJson(join(sources, 'guest.json'));
  const work = mkdtempSync(join(tmpdir(), 'understudy-test-guest-'));
  try {
    const apt = guestApt(spec.suite);
    await apt.update({});
    const tools = await GuestTools.unpack(apt, work, (line) => progress.tick(line));
    const name = apt.dependency(spec.kernel.metapackage, new RegExp(spec.kernel.pattern));
    progress.note(`downloading ${name} (70 MB)`);
    await apt.download([`${name}=${apt.candidate(name)}`], work);
    const deb = readdirSync(work).find((file) => file.endsWith('.deb'));
    await run('dpkg-deb', ['-x', join(work, deb), join(work, 'root')]);
    writeFileSync(join(dir, 'vmlinux'), vmlinuxOf(join(work, 'root', 'boot')));
    const cpio = new Cpio();
    cpio.file('init.test', readFileSync(join(sources, 'init.test')), 0o755);
    // The reference guest's modules are for its own kernel: its init loads none.
    cpio.file('lib/modules/order', Buffer.alloc(0));
    addModules(cpio, spec.modules, join(work, 'root'));
    addCompiled(cpio, sources, tools);
    // The kernel unpacks one archive over the other.
    const base = readFileSync(join(reference, 'initrd.gz'));
    writeFileSync(
      join(dir, 'initrd.gz'),
      Buffer.concat([base, Buffer.alloc(-base.length & 3), tools.gzip(cpio.bytes())]),
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The ELF kernel: decompressing it emulated would be most of a boot. */
function vmlinuxOf(boot) {
  const file = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  const image = readFileSync(join(boot, file));
  const start = image.indexOf(Buffer.from('\xfd7zXZ\0', 'latin1'));
  if (start < 0) throw new StepError(`test guest: no XZ kernel in ${file}`);
  // From a file: xz does not read what follows the stream, and a pipe would break.
  const stream = join(boot, 'vmlinux.xz');
  writeFileSync(stream, image.subarray(start));
  const input = openSync(stream, 'r');
  try {
    return execFileSync('xz', ['-dc', '--single-stream'], {
      maxBuffer: 2 ** 30,
      stdio: [input, 'pipe', 'ignore'], // it complains of what follows the stream
    });
  } finally {
    closeSync(input);
  }
}

/** Modules and what they depend on, in the order in which init.test loads them. */
function addModules(cpio, names, root) {
  const canonical = (name) => name.replaceAll('-', '_');
  const files = new Map(
    listFiles(root, (file) => file.endsWith('.ko')).map((path) => [
      canonical(basename(path, '.ko')),
      join(root, path),
    ]),
  );
  const order = [];
  const need = (name) => {
    if (order.includes(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new StepError(`test guest: no module ${name}`);
    const image = readFileSync(file);
    for (const other of depends(image)) need(canonical(other));
    order.push(name);
    cpio.file(`lib/modules/test/${name}.ko`, image);
  };
  for (const name of names) need(canonical(name));
  const lines = order.map((name) => `/lib/modules/test/${name}.ko\n`);
  cpio.file('lib/modules/order.test', Buffer.from(lines.join('')));
}

/** The `depends=` entry of a module's .modinfo. */
function depends(image) {
  const start = image.indexOf('\0depends=');
  if (start < 0) return [];
  const from = start + '\0depends='.length;
  const text = image.toString('latin1', from, image.indexOf(0, from));
  return text === '' ? [] : text.split(',');
}
