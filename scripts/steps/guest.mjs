// SPDX-License-Identifier: Apache-2.0
// The reference guest and the firmware, assembled from Debian packages.
//
// Nothing of it comes from the host's own installation, nor do the tools that make it
// (lib/guest-tools.mjs): two hosts that use the same package versions get the same bytes.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { hostMirrors, osRelease, PrivateApt, sourceLines } from '../lib/apt.mjs';
import { cacheDir, listFiles, prune, publishDir, readJson, withLock } from '../lib/cache.mjs';
import { Cpio } from '../lib/cpio.mjs';
import { guestDir, guestKey } from '../lib/guest-key.mjs';
import { GuestTools } from '../lib/guest-tools.mjs';
import { output, run, StepError } from '../lib/run.mjs';
import { extractVmlinux } from '../lib/vmlinux.mjs';

// A quick boot: the self-tests of the kernel's ciphers are a third of it, and the
// calibration of the LAPIC timer, a busy loop, another (the HPET needs none).
const APPEND = [
  'console=ttyS0 quiet tsc=reliable no_timer_check nokaslr random.trust_cpu=on',
  'cryptomgr.notests mitigations=off nolapic_timer',
].join(' ');

/**
 * Builds the guest unless the cache has it.
 * @param progress see lib/progress.mjs
 * @param refresh choose package versions again and rebuild
 */
export async function guestStep(progress, { refresh = false } = {}) {
  const key = guestKey();
  const base = join(cacheDir(), 'guest');
  const target = join(base, key);
  if (!refresh && existsSync(join(target, 'manifest.json'))) return;
  mkdirSync(base, { recursive: true });
  await withLock(
    join(base, `${key}.lock`),
    async () => {
      if (!refresh && existsSync(join(target, 'manifest.json'))) return;
      await publishDir(target, (dir) => assemble(dir, progress, refresh));
      prune(base, key, 3);
    },
    (pid) => progress.note(`waiting for process ${pid}, which is building the same guest`),
  );
}

async function assemble(dir, progress, refresh) {
  const spec = readJson(join(guestDir, 'guest.json'));
  const work = mkdtempSync(join(tmpdir(), 'understudy-guest-'));
  try {
    progress.note('downloading its Debian packages');
    const packages = await fetchPackages(spec, work, refresh, progress);
    progress.note('downloading the tools that make it');
    const onLine = (line) => progress.tick(line);
    const tools = await GuestTools.unpack(guestApt(spec.suite), work, onLine);
    progress.note('assembling');
    const kernelRoot = join(work, 'root', 'kernel');
    const vmlinuz = readFileSync(only(join(kernelRoot, 'boot'), /^vmlinuz-/));
    const vmlinux = extractVmlinux(vmlinuz);
    if (vmlinux === undefined) throw new StepError('guest: no LZ4 kernel in its vmlinuz');
    writeFileSync(join(dir, 'vmlinux'), vmlinux);
    // As a boot loader takes it, and the only form that asks the BIOS for its screen.
    writeFileSync(join(dir, 'vmlinuz'), vmlinuz);
    const cpio = new Cpio();
    cpio.character('dev/console', 5, 1);
    for (const name of ['proc', 'sys', 'data', 'tmp', 'etc']) cpio.directory(name);
    cpio.file('init', readFileSync(join(guestDir, 'init')), 0o755);
    cpio.file('etc/passwd', Buffer.from('root::0:0:root:/:/bin/sh\n'));
    cpio.file('etc/group', Buffer.from('root:x:0:\n'));
    addPrograms(cpio, spec, join(work, 'root'));
    addModules(cpio, spec, kernelRoot);
    addCompiled(cpio, guestDir, tools);
    // Level 9 costs the host a second, once; the guest inflates it at every boot.
    writeFileSync(join(dir, 'initrd.gz'), tools.gzip(cpio.bytes()));
    addFirmware(join(dir, 'firmware'), spec, join(work, 'root'));
    makeDisk(join(dir, 'disk.raw'), spec.disk, tools);
    const manifest = { append: APPEND, packages, suite: spec.suite };
    writeFileSync(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Downloads and unpacks; returns the versions.  Each package has its own root. */
async function fetchPackages(spec, work, refresh, progress) {
  const guest = (apt) => {
    const kernel = apt.dependency(spec.kernel.metapackage, new RegExp(spec.kernel.pattern));
    return [[kernel, 'kernel'], ...Object.keys(spec.packages), ...spec.libraries];
  };
  // Firmware of the release that has our QEMU: SeaBIOS before 1.16.3 waits 32 s for each
  // AHCI disk of a QEMU since 8.2.
  const firmware = () => Object.keys(spec.firmware);
  const from = (name, suite, components, wanted) =>
    fetchFrom({ name, suite, components, wanted, work, refresh, progress });
  return {
    ...(await from('guest', spec.suite, 'main non-free', guest)),
    ...(await from('firmware', spec.firmware_suite, 'main', firmware)),
  };
}

function suiteApt(name, suite, components) {
  const mirrors = hostMirrors(osRelease().codename);
  return new PrivateApt(name, sourceLines(mirrors, { codename: suite, components }));
}

/** The apt state from which guests and the tools that make them come. */
export function guestApt(suite) {
  return suiteApt('guest', suite, 'main non-free');
}

/** `wanted(apt)`: names of packages, or [name, name of its root]. */
async function fetchFrom(what) {
  const { name, suite, components, wanted, work, refresh, progress } = what;
  const apt = suiteApt(name, suite, components);
  const onLine = (line) => progress.tick(line);
  await apt.update({ force: refresh, onLine });
  const roots = wanted(apt).map((item) => (typeof item === 'string' ? [item, item] : item));
  let versions;
  try {
    versions = roots.map(([item]) => [item, apt.candidate(item)]);
    await apt.download(
      versions.map((pair) => pair.join('=')),
      work,
      onLine,
    );
  } catch (error) {
    if (refresh) throw error;
    // The lists can name a version that the mirror has replaced since.
    return fetchFrom({ ...what, refresh: true });
  }
  for (const [item, place] of roots) {
    const deb = only(work, new RegExp(`^${item.replace(/[.+]/g, '\\$&')}_.*\\.deb$`));
    await run('dpkg-deb', ['-x', deb, mkdir(join(work, 'root', place))]);
  }
  return Object.fromEntries(versions);
}

/** Programs of the packages, with the shared libraries they need (from packages too). */
function addPrograms(cpio, spec, roots) {
  const wanted = Object.entries(spec.packages).flatMap(([name, files]) =>
    files.map((file) => join(roots, name, file)),
  );
  const libraries = new Map();
  for (const name of spec.libraries) {
    for (const file of listFiles(join(roots, name), (path) => /\.so(\.\d+)*$/.test(path))) {
      libraries.set(basename(file), join(roots, name, file));
    }
  }
  const seen = new Set();
  const need = (program) => {
    const text = output('readelf', ['-ld', program]);
    const loader = /program interpreter: ([^\]]+)/.exec(text)?.[1];
    const names = [...text.matchAll(/\(NEEDED\).*\[([^\]]+)\]/g)].map((m) => m[1]);
    if (loader !== undefined) names.push(basename(loader));
    for (const name of names) {
      if (seen.has(name)) continue;
      seen.add(name);
      const path = libraries.get(name);
      if (path === undefined)
        throw new StepError(`guest: ${program} needs ${name}; add its package to guest.json`);
      const place = name.startsWith('ld-linux') ? 'lib64' : 'lib/x86_64-linux-gnu';
      cpio.file(`${place}/${name}`, readFileSync(path), 0o755);
      need(path);
    }
  };
  for (const program of wanted) {
    cpio.file(`bin/${basename(program)}`, readFileSync(program), 0o755);
    need(program);
  }
  const busybox = wanted.find((path) => path.endsWith('/busybox'));
  for (const applet of output(busybox, ['--list']).split('\n')) {
    if (applet !== 'busybox') cpio.symlink(`bin/${applet}`, 'busybox');
  }
}

/** Modules and what they depend on, and the order in which init loads them. */
function addModules(cpio, spec, kernelRoot) {
  const dir = join(kernelRoot, 'lib/modules', readdirSync(join(kernelRoot, 'lib/modules'))[0]);
  const canonical = (name) => name.replaceAll('-', '_');
  const files = new Map();
  for (const path of listFiles(dir, (file) => file.endsWith('.ko'))) {
    files.set(canonical(basename(path, '.ko')), join(dir, path));
  }
  const builtin = new Set(
    readFileSync(join(dir, 'modules.builtin'), 'utf8')
      .split('\n')
      .map((line) => canonical(basename(line, '.ko'))),
  );
  const closure = (names, into = []) => {
    for (const name of names.map(canonical)) {
      if (builtin.has(name) || into.includes(name)) continue;
      const path = files.get(name);
      if (path === undefined) throw new StepError(`guest: no module ${name} in ${basename(dir)}`);
      closure(moduleDepends(readFileSync(path)), into);
      into.push(name);
    }
    return into;
  };
  for (const name of closure(spec.modules)) {
    cpio.file(`lib/modules/${name}.ko`, readFileSync(files.get(name)));
  }
  const order = closure(spec.loaded_always).map((name) => `/lib/modules/${name}.ko\n`);
  cpio.file('lib/modules/order', Buffer.from(order.join('')));
}

/** The `depends=` entry of a module's .modinfo; the package carries no modules.dep. */
function moduleDepends(image) {
  const start = image.indexOf('\0depends=');
  if (start < 0) return [];
  const from = start + '\0depends='.length;
  const text = image.toString('latin1', from, image.indexOf(0, from));
  return text === '' ? [] : text.split(',');
}

/** Every NAME.c of a folder becomes the static program /bin/NAME. */
export function addCompiled(cpio, dir, tools) {
  for (const source of listFiles(dir, (name) => name.endsWith('.c'))) {
    const name = basename(source, '.c');
    cpio.file(`bin/${name}`, readFileSync(tools.compile(join(dir, source), name)), 0o755);
  }
}

function addFirmware(dir, spec, roots) {
  mkdir(dir);
  for (const [name, files] of Object.entries(spec.firmware)) {
    for (const file of files) copyFileSync(join(roots, name, file), join(dir, basename(file)));
  }
}

/** An empty ext4 with nothing left to initialise later, the same bytes every time. */
function makeDisk(path, { bytes, uuid, hash_seed: hashSeed }, tools) {
  writeFileSync(path, '');
  truncateSync(path, bytes);
  const extended = `hash_seed=${hashSeed},lazy_itable_init=0,lazy_journal_init=0,nodiscard`;
  tools.mke2fs(['-q', '-t', 'ext4', '-F', '-U', uuid, '-E', extended, path], {
    E2FSPROGS_FAKE_TIME: '1700000000',
    MKE2FS_CONFIG: '/dev/null',
  });
}

function mkdir(dir) {
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** The one file of `dir` whose name matches. */
function only(dir, pattern) {
  const found = readdirSync(dir).filter((name) => pattern.test(name));
  if (found.length !== 1) throw new StepError(`${dir}: ${found.length} files match ${pattern}`);
  return join(dir, found[0]);
}
