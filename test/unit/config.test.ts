// SPDX-License-Identifier: Apache-2.0
/** VM.toml: defaults, normalisation, and every kind of bad input with its code. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { configHash, configToToml, loadConfig, parseConfig } from '../../src/vm/config.ts';

const FILE = '/vms/demo/VM.toml';

const FULL = `
name = "demo"
memory = "512M"
kernel = "vmlinuz"
initrd = "/boot/initrd.gz"
append = "console=ttyS0"
vga = true
[[disk]]
image = "disk.raw"
[[nic]]
mac = "52:54:00:AB:34:56"
tap = "tap0"
[[nic]]
user = true
[replication]
primary = "10.0.0.1:7700"
backup = "[fe80::2]:7701"
arbiter = "dir:fence"
[qemu]
args = ["-cpu", "Nehalem,+rdrand"]
`;

/** Text, expected code, and what the message must name. */
const BAD: ReadonlyArray<readonly [string, string, string, readonly RegExp[]]> = [
  ['not TOML', 'name = ', 'config-syntax', [/VM\.toml:1:/]],
  ['no name', 'kernel = "k"', 'config-value', [/name/]],
  ['bad name', 'name = "a b"\nkernel = "k"', 'config-value', [/name/]],
  ['nothing to boot', 'name = "a"', 'config-value', [/kernel/, /disk/]],
  ['initrd alone', 'name = "a"\ninitrd = "i"\n[[disk]]\nimage = "d"', 'config-value', [/initrd/]],
  [
    'unknown key',
    'name = "a"\nkernle = "k"',
    'config-unknown-key',
    [/"kernle"/, /"kernel"/, /VM\.toml/],
  ],
  [
    'unknown table',
    'name = "a"\nkernel = "k"\n[[disc]]\nimage = "d"',
    'config-unknown-key',
    [/"disc"/, /"disk"/],
  ],
  [
    'unknown key in a disk',
    'name = "a"\n[[disk]]\nimage = "d"\n[[disk]]\nimage = "e"\nimgae = "d"',
    'config-unknown-key',
    [/"imgae"/, /disk\[1\]/, /"image"/],
  ],
  [
    'unknown key in replication',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nheartbeat = 3',
    'config-unknown-key',
    [/"heartbeat"/, /"heartbeat_ms"/],
  ],
  [
    'a history that is no time',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "h:1"\nhistory = "a lot"',
    'config-value',
    [/replication\.history/, /"a lot"/, /"10m"/],
  ],
  [
    'a history in seconds',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "h:1"\nhistory = 600',
    'config-value',
    [/replication\.history/, /"10m"/],
  ],
  ['memory a number', 'name = "a"\nkernel = "k"\nmemory = 256', 'config-value', [/memory/, /256M/]],
  ['memory too small', 'name = "a"\nkernel = "k"\nmemory = "16M"', 'config-value', [/16M/]],
  ['nine vcpus', 'name = "a"\nkernel = "k"\nvcpus = 9', 'not-exact', [/vcpus = 9/]],
  ['vga by name', 'name = "a"\nkernel = "k"\nvga = "std"', 'config-value', [/vga: must be true/]],
  ['no vcpus', 'name = "a"\nkernel = "k"\nvcpus = 0', 'config-value', [/vcpus/]],
  ['microvm', 'name = "a"\nkernel = "k"\nmachine = "microvm"', 'not-exact', [/microvm/, /q35/]],
  [
    'e1000e',
    'name = "a"\nkernel = "k"\n[[nic]]\nmodel = "e1000e"\ntap = "t"',
    'not-exact',
    [/e1000e/, /not yet exact/],
  ],
  [
    'nvme',
    'name = "a"\n[[disk]]\nimage = "d"\ninterface = "nvme"',
    'not-exact',
    [/nvme/, /completions/],
  ],
  [
    'IDE on q35',
    'name = "a"\nmachine = "q35"\n[[disk]]\nimage = "d"\ninterface = "ide"',
    'config-value',
    [/q35/, /"ahci"/],
  ],
  [
    'AHCI on pc',
    'name = "a"\n[[disk]]\nimage = "d"\ninterface = "ahci"',
    'config-value',
    [/pc/, /"ide"/],
  ],
  [
    'five IDE disks',
    `name = "a"\n${'[[disk]]\nimage = "d"\ninterface = "ide"\n'.repeat(5)}`,
    'config-value',
    [/room for 4 ide/],
  ],
  ['odd nic', 'name = "a"\nkernel = "k"\n[[nic]]\nmodel = "zz9"\ntap = "t"', 'not-exact', [/zz9/]],
  [
    'qcow2',
    'name = "a"\n[[disk]]\nimage = "d"\nformat = "qcow2"',
    'not-exact',
    [/qcow2/, /qemu-img convert/],
  ],
  [
    'nic without back end',
    'name = "a"\nkernel = "k"\n[[nic]]\nmac = "52:54:00:00:00:01"',
    'config-value',
    [/nic\[0\]/, /tap/],
  ],
  [
    'nic with both',
    'name = "a"\nkernel = "k"\n[[nic]]\ntap = "t"\nuser = true',
    'config-value',
    [/not both/],
  ],
  [
    'multicast mac',
    'name = "a"\nkernel = "k"\n[[nic]]\ntap = "t"\nmac = "53:54:00:00:00:01"',
    'config-value',
    [/multicast/],
  ],
  [
    'long tap',
    'name = "a"\nkernel = "k"\n[[nic]]\ntap = "abcdefghijklmnop"',
    'config-value',
    [/15/],
  ],
  [
    'one tap twice',
    'name = "a"\nkernel = "k"\n[[nic]]\ntap = "t"\n[[nic]]\ntap = "t"',
    'config-value',
    [/two \[\[nic\]\].*tap t/],
  ],
  [
    'one mac twice',
    'name = "a"\nkernel = "k"\n[[nic]]\ntap = "t"\nmac = "52:54:00:00:00:01"\n[[nic]]\ntap = "u"\nmac = "52:54:00:00:00:01"',
    'config-value',
    [/52:54:00:00:00:01/],
  ],
  [
    'bad address',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "10.0.0.1"',
    'config-value',
    [/HOST:PORT/],
  ],
  [
    'port too big',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:99999"',
    'config-value',
    [/a:99999/],
  ],
  [
    'etcd',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\narbiter = "etcd:http://x"',
    'config-value',
    [/etcd/],
  ],
  [
    'protocol',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "romus"',
    'config-value',
    [/lockstep/],
  ],
  [
    'an accelerator that nobody has',
    'name = "a"\nkernel = "k"\naccel = "xen"',
    'config-value',
    [/accel/, /"tcg" or "tcg-multi"/],
  ],
  [
    'a log of what nobody counts',
    'name = "a"\nkernel = "k"\naccel = "tcg-multi"\n[replication]\nprimary = "a:1"',
    'not-exact',
    [/accel = "tcg-multi" is not for protocol = "lockstep"/, /accel = "tcg"$/],
  ],
  [
    'epochs of a log of what nobody counts',
    'name = "a"\nkernel = "k"\naccel = "tcg-multi"\n[replication]\nprimary = "a:1"\n' +
      'protocol = "lockstep-epoch"',
    'not-exact',
    [/accel = "tcg-multi" is not for protocol = "lockstep-epoch"/],
  ],
  [
    'qcow2, whoever executes',
    'name = "a"\naccel = "tcg-multi"\n[[disk]]\nimage = "d"\nformat = "qcow2"',
    'not-exact',
    [/qcow2/, /qemu-img convert/],
  ],
  [
    'a history of what nobody executes again',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "remus"\nhistory = "5m"',
    'config-value',
    [/replication\.history is not for protocol = "remus"/, /protocol = "lockstep"/],
  ],
  [
    'a digest of cuts that there are none of',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\ndigest_every = "cut"',
    'config-value',
    [/digest_every = "cut" is not for protocol = "lockstep"/, /protocol = "[^;]*"remus"/],
  ],
  [
    'references to memory where no memory is shipped',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\ndisk = "io-log"',
    'config-value',
    [
      /replication\.disk = "io-log" is not for protocol = "lockstep"/,
      /take protocol = "[^;]*"remus"/,
    ],
  ],
  [
    'a disk mode that is none',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "remus"\ndisk = "log"',
    'config-value',
    [/replication\.disk: must be "blocks" or "io-log"/],
  ],
  [
    'an interval without a length',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "remus"\ninterval_ms = 1',
    'config-value',
    [/replication\.interval_ms/],
  ],
  [
    'a wait without an end',
    'name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "remus"\noutput_wait_us_max = "never"',
    'config-value',
    [/replication\.output_wait_us_max/],
  ],
  [
    'qemu device',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-device", "e1000,netdev=x"]',
    'not-exact',
    [/"e1000"/],
  ],
  [
    'another VGA card',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-device", "cirrus-vga"]',
    'not-exact',
    [/"cirrus-vga"/, /vga = true/],
  ],
  [
    'VGA as a QEMU option',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-vga", "std"]',
    'not-exact',
    [/-vga/, /use vga in VM.toml/],
  ],
  [
    'qemu kvm',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-enable-kvm"]',
    'not-exact',
    [/-enable-kvm/, /TCG/],
  ],
  [
    'qemu long option',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["--smp", "4"]',
    'not-exact',
    [/--smp/],
  ],
  [
    'qemu unknown option',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-frob"]',
    'not-exact',
    [/-frob/, /-cpu/],
  ],
  [
    'qemu host cpu',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-cpu", "host"]',
    'not-exact',
    [/host/],
  ],
  [
    "qemu host cpu's caches",
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-cpu", "max,host-cache-info=on"]',
    'not-exact',
    [/host-cache-info/, /this host's CPU/],
  ],
  [
    'the same in another spelling',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-cpu", "max,+host_phys_bits"]',
    'not-exact',
    [/host_phys_bits/],
  ],
  [
    'qemu option without value',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["-cpu"]',
    'config-value',
    [/-cpu/],
  ],
  [
    'stray qemu word',
    'name = "a"\nkernel = "k"\n[qemu]\nargs = ["disk.img"]',
    'not-exact',
    [/disk\.img/],
  ],
];

function failure(body: () => unknown): UnderstudyError {
  try {
    body();
  } catch (error) {
    assert.instance(error, UnderstudyError);
    return error as UnderstudyError;
  }
  assert.unreachable('it was accepted');
  throw new Error();
}

const config = suite('VM.toml');

config('is normalised', () => {
  const vm = parseConfig(FULL, FILE);
  assert.is(vm.memoryBytes, 512 * 2 ** 20);
  assert.is(vm.kernel, '/vms/demo/vmlinuz');
  assert.is(vm.initrd, '/boot/initrd.gz');
  assert.is(vm.rng, true);
  assert.is(vm.vga, true);
  assert.is(parseConfig('name = "a"\nkernel = "k"', FILE).vga, false);
  assert.is(vm.machine, 'pc');
  assert.is(vm.vcpus, 1);
  assert.equal(vm.disks, [{ image: '/vms/demo/disk.raw', format: 'raw', interface: 'virtio-blk' }]);
  assert.equal(vm.nics[0], {
    model: 'virtio-net-pci',
    mac: '52:54:00:ab:34:56',
    backend: { kind: 'tap', ifname: 'tap0' },
  });
  assert.is(vm.nics[1]?.mac, '52:54:00:12:34:57');
  assert.equal(vm.nics[1]?.backend, { kind: 'user' });
  assert.equal(vm.replication, {
    primary: { host: '10.0.0.1', port: 7700 },
    backup: { host: 'fe80::2', port: 7701 },
    protocol: 'lockstep',
    epochInstructions: 1_000_000,
    intervalMs: 25,
    outputWaitUsMax: 1000,
    disk: 'blocks',
    arbiter: 'dir:/vms/demo/fence',
    heartbeatMs: 100,
    heartbeatMissed: 3,
    lagMsMax: 100,
    durability: 'memory',
    batchUsMax: 1000,
    logMibMax: 8192,
    digestEvery: 100_000_000,
    historyMs: 0,
    onDiskError: 'stop',
  });
});

config('survives being written and read again', () => {
  const vm = parseConfig(FULL, FILE);
  const text = configToToml(vm, { kernel: 'kernel', initrd: 'initrd', disks: ['disks/0.raw'] });
  const again = parseConfig(text, FILE);
  assert.equal(
    { ...again, file: vm.file },
    {
      ...vm,
      kernel: '/vms/demo/kernel',
      initrd: '/vms/demo/initrd',
      disks: [{ image: '/vms/demo/disks/0.raw', format: 'raw', interface: 'virtio-blk' }],
      replication: null,
    },
  );
});

for (const [title, text, code, names] of BAD) {
  config(`refuses: ${title}`, () => {
    const error = failure(() => parseConfig(text, FILE));
    assert.is(error.code, code, error.message);
    assert.is(error.exitCode, 2);
    for (const name of names) assert.match(error.message, name);
    assert.match(error.message, FILE);
  });
}

config('refuses a file that is not there', () => {
  const error = failure(() => loadConfig('/nowhere/VM.toml'));
  assert.is(error.code, 'config-unreadable');
  assert.match(error.message, '/nowhere/VM.toml');
});

config('hashes what the guest sees and nothing else', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-config-'));
  try {
    writeFileSync(join(dir, 'k'), 'kernel');
    writeFileSync(join(dir, 'k2'), 'kernel');
    writeFileSync(join(dir, 'other'), 'another kernel');
    const base = 'name = "a"\nkernel = "k"\n[[nic]]\ntap = "t0"\nmac = "52:54:00:00:00:01"';
    const hash = (text: string) => configHash(parseConfig(text, join(dir, 'VM.toml')));
    const reference = await hash(base);
    assert.match(reference, /^[0-9a-f]{64}$/);
    assert.is(await hash(base.replace('"t0"', '"t1"')), reference, 'tap names differ by side');
    assert.is(await hash(base.replace('"k"', '"k2"')), reference, 'paths differ by side');
    assert.is.not(await hash(base.replace('"k"', '"other"')), reference);
    assert.is.not(await hash(base.replace('00:01', '00:02')), reference);
    assert.is.not(await hash(base.replace('tap = "t0"', 'user = true')), reference);
    assert.is.not(await hash(`rng = false\n${base}`), reference);
    assert.is.not(await hash(`vga = true\n${base}`), reference);
    assert.is(await hash(`vga = false\n${base}`), reference);
    assert.is.not(await hash(`memory = "128M"\n${base}`), reference);
    assert.is.not(await hash(`append = "quiet"\n${base}`), reference);
    assert.is.not(await hash(`vcpus = 2\n${base}`), reference);
    assert.is.not(await hash(`accel = "tcg-multi"\n${base}`), reference);
    assert.is(await hash(`accel = "tcg"\n${base}`), reference);
    assert.is.not(await hash(`machine = "q35"\n${base}`), reference);
    assert.is.not(await hash(`${base}\nmodel = "e1000"`), reference);
    const disk = `${base}\n[[disk]]\nimage = "d"`;
    assert.is.not(await hash(`${disk}\ninterface = "ide"`), await hash(disk));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

config('a missing kernel is named', async () => {
  try {
    await configHash(parseConfig('name = "a"\nkernel = "gone"', FILE));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, UnderstudyError);
    assert.is((error as UnderstudyError).code, 'boot-file');
    assert.match((error as UnderstudyError).message, '/vms/demo/gone');
  }
});

config('durability = "disk" is for protocols by epochs too', () => {
  for (const protocol of ['remus', 'kemari', 'lockstep']) {
    const text = `name = "a"\nkernel = "k"\n[replication]\nprimary = "a:1"\nprotocol = "${protocol}"\ndurability = "disk"`;
    assert.is(parseConfig(text, FILE).replication?.durability, 'disk', protocol);
  }
});

config.run();
