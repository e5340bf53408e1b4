// SPDX-License-Identifier: Apache-2.0
// A Debian system on a disk, with its own init and its sshd: what somebody with a server
// would protect. mmdebstrap installs it, as Debian's packages want it; it is unpacked for
// that, and not installed here.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostMirrors, osRelease, sourceLines } from '../lib/apt.mjs';
import { ContentHash, readJson } from '../lib/cache.mjs';
import { guestDir } from '../lib/guest-key.mjs';
import { made } from '../lib/made.mjs';
import { run, StepError } from '../lib/run.mjs';
import { treeImage } from '../lib/tree-image.mjs';
import { guestApt } from './guest.mjs';
import { initrdWith } from './other-init.mjs';
import { testPackages } from './test-packages.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const sources = join(root, 'test', 'debian');
const PACKAGES = ['systemd-sysv', 'ifupdown', 'iproute2', 'openssh-server'];
const CLIENT = '/usr/bin/ssh';
/** As in its `interfaces`. */
const ADDRESS = '10.77.0.2';

/**
 * Builds the system unless the cache has it. Needs root: packages are installed in a chroot.
 * @returns its disk and initrd, what its kernel's command line must have, and a client's
 *   private key and known hosts
 */
export async function testDebian(progress) {
  const missing = () => (existsSync(CLIENT) ? [] : ['openssh-client']);
  await testPackages('ssh for tests', missing, progress);
  const { suite } = readJson(join(guestDir, 'guest.json'));
  const key = new ContentHash()
    .addDir(sources, 'debian')
    .addFile(fileURLToPath(import.meta.url), 'test-debian.mjs')
    .addFile(fileURLToPath(import.meta.resolve('../lib/tree-image.mjs')), 'tree-image.mjs')
    .add('suite', suite)
    .digest();
  const disk = await made('test-debian', key, 'disk.raw', 1, progress, (dir) =>
    assemble(dir, suite, progress),
  );
  const beside = dirname(disk);
  return {
    disk,
    initrd: await initrdWith('test-debian-initrd', join(sources, 'init.debian'), progress),
    // Its services are told on the console, in plain text.
    words: 'rdinit=/init.debian systemd.show_status=1 systemd.log_color=0',
    key: join(beside, 'key'),
    knownHosts: join(beside, 'known_hosts'),
  };
}

async function assemble(dir, suite, progress) {
  if (process.getuid?.() !== 0) {
    throw new StepError('the Debian guest is installed in a chroot, which only root enters');
  }
  const work = mkdtempSync(join(tmpdir(), 'understudy-test-debian-'));
  try {
    const tree = join(work, 'root');
    await install(tree, suite, work, progress);
    const key = join(dir, 'key');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key]);
    settle(tree, readFileSync(`${key}.pub`, 'utf8'));
    const host = readFileSync(join(tree, 'etc/ssh/ssh_host_ed25519_key.pub'), 'utf8');
    writeFileSync(join(dir, 'known_hosts'), `${ADDRESS} ${host}`);
    progress.note('making its file system');
    await treeImage(tree, join(dir, 'disk.raw'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function install(tree, suite, work, progress) {
  const onLine = (line) => progress.tick(line);
  const apt = guestApt(suite);
  await apt.update({ onLine });
  await apt.download([`mmdebstrap=${apt.candidate('mmdebstrap')}`], work, onLine);
  const deb = readdirSync(work).find((name) => name.startsWith('mmdebstrap_'));
  const tool = join(work, 'mmdebstrap');
  await run('dpkg-deb', ['-x', join(work, deb), tool]);
  const list = join(work, 'sources.list');
  const lines = sourceLines(hostMirrors(osRelease().codename), {
    codename: suite,
    components: 'main',
  });
  writeFileSync(list, `${lines.join('\n')}\n`);
  progress.note(`installing ${suite} with ${PACKAGES.join(', ')}`);
  // Mounts in a namespace of its own go with it, whatever happens; the host's devices and
  // /sys are no part of it (mmdebstrap makes the nodes that packages need).
  await run(
    'unshare',
    [
      ...['-m', 'perl', join(tool, 'usr/bin/mmdebstrap'), '--mode=root', '--variant=minbase'],
      ...['--skip=chroot/mount/dev,chroot/mount/sys', `--include=${PACKAGES.join(',')}`],
      ...[suite, tree, list],
    ],
    { onLine },
  );
}

/** What an administrator would settle: its name, its network, who may log in. */
function settle(tree, publicKey) {
  const write = (name, text) => writeFileSync(join(tree, name), text);
  write('etc/hostname', 'debian\n');
  write('etc/machine-id', `${'5d'.repeat(16)}\n`);
  write('etc/network/interfaces', readFileSync(join(sources, 'interfaces')));
  mkdirSync(join(tree, 'root/.ssh'), { recursive: true });
  chmodSync(join(tree, 'root/.ssh'), 0o700);
  write('root/.ssh/authorized_keys', publicKey);
  // There is no mirror for them in a test's network.
  rmSync(join(tree, 'etc/systemd/system/timers.target.wants'), { recursive: true });
}
