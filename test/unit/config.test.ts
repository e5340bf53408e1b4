// SPDX-License-Identifier: Apache-2.0
/** VM.toml: defaults, normalisation, and every kind of bad input with its code. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NO_ACCESS } from '../../src/arbiter/arbiter.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import { configHash, configToToml, loadConfig, parseConfig } from '../../src/vm/config.ts';
import { BAD } from '../lib/bad-vm-toml.ts';

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
[replication.tls]
ca = "tls/ca.pem"
cert = "tls/cert.pem"
key = "/etc/shop.key"
[qemu]
args = ["-cpu", "Nehalem,+rdrand"]
`;

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
    replicas: [],
    witness: false,
    protocol: 'lockstep',
    epochInstructions: 1_000_000,
    intervalMs: 25,
    intervalMsMax: null,
    epochPagesMax: null,
    outputWaitUsMax: 1000,
    disk: 'blocks',
    arbiter: 'dir:/vms/demo/fence',
    arbiterAccess: NO_ACCESS,
    fenceCommand: null,
    onFailover: null,
    helperTimeoutS: 30,
    heartbeatMs: 100,
    heartbeatMissed: 3,
    stuckMsMax: 1000,
    unprotected: 'run',
    lagMsMax: 100,
    durability: 'memory',
    batchUsMax: 1000,
    logMibMax: 8192,
    digestEvery: 100_000_000,
    historyMs: 0,
    onDiskError: 'stop',
    link: {
      tls: {
        ca: '/vms/demo/tls/ca.pem',
        cert: '/vms/demo/tls/cert.pem',
        key: '/etc/shop.key',
        crl: null,
      },
      insecurePlaintext: false,
    },
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

config('a guard: one probe or a list, its numbers, and what the guest sees of it', async () => {
  const of = (table: string) => parseConfig(`name = "a"\nkernel = "k"\n${table}`, FILE);
  assert.is(of('').guard, null);
  assert.is(of('[guard]\nenabled = false').guard, null);
  const { guard } = of('[guard]\nprobe = "10.0.0.5:6379"\nsilence_s = 5');
  assert.equal(guard?.probes, [{ host: '10.0.0.5', port: 6379 }]);
  assert.equal([guard?.agent, guard?.silenceMs, guard?.onSilence], [true, 5000, 'report']);
  assert.is(of('[guard]\nprobe = ["10.0.0.5:1", "[fe80::1]:2"]').guard?.probes.length, 2);
  // A recording of it has the port, and none of the numbers.
  const paths = { kernel: 'k', initrd: null, disks: [] };
  const recorded = (table: string) => parseConfig(configToToml(of(table), paths), FILE).guard;
  assert.is(recorded('[guard]\nsilence_s = 5')?.agent, true);
  assert.is(recorded('[guard]\nagent = false\nprobe = "a:1"'), null);
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
    assert.is.not(await hash(`guard = { agent = true }\n${base}`), reference);
    assert.is(await hash(`guard = { agent = false, probe = "a:1" }\n${base}`), reference);
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
