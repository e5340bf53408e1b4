// SPDX-License-Identifier: Apache-2.0
/** The QEMU command line, word by word: a guest sees most of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseConfig } from '../../src/vm/config.ts';
import { qemuEnvironment } from '../../src/vm/confinement.ts';
import { type QemuArgsOptions, qemuArgs, rtcBaseNow, tapsOf } from '../../src/vm/qemu-args.ts';

const VM = parseConfig(
  `
name = "demo"
kernel = "vmlinuz"
initrd = "initrd.gz"
append = "console=ttyS0"
[[disk]]
image = "a,b.raw"
[[disk]]
image = "c.raw"
[[nic]]
tap = "tap0"
[[nic]]
user = true
`,
  '/vm/VM.toml',
);

const NIC =
  'ioeventfd=off,guest_announce=off,guest_ufo=off,host_ufo=off,host_uso=off,' +
  'guest_uso4=off,guest_uso6=off,romfile=';
const DRIVE =
  'format=raw,cache=writeback,aio=threads,discard=unmap,detect-zeroes=off,' +
  'werror=report,rerror=report';
const BLK =
  'ioeventfd=off,logical_block_size=512,physical_block_size=512,discard_granularity=4096,' +
  'max-discard-sectors=262144,max-write-zeroes-sectors=262144';

const OPTIONS = {
  mode: 'record',
  rtcBase: '2026-11-21T07:00:00',
  firmwareDir: '/fw',
  net: 'configured',
} as const;

const GOLDEN = [
  '-nodefaults -no-user-config -display none -monitor none -L /fw -name demo',
  '-machine pc,usb=off,vmport=off,hpet=on -accel tcg,thread=single,tb-size=64 -icount shift=1',
  '-cpu max -m 256M -smp 1 -rtc base=2026-11-21T07:00:00,clock=vm',
  '-exitlog mode=record,shm=3,notify=4,wake=5,net0=tap:8,net1=user',
  '-kernel /vm/vmlinuz -initrd /vm/initrd.gz -append console=ttyS0',
  `-drive if=none,id=disk0,file=/vm/a,,b.raw,${DRIVE}`,
  `-device virtio-blk-pci,drive=disk0,${BLK},bootindex=1,addr=0x4`,
  `-drive if=none,id=disk1,file=/vm/c.raw,${DRIVE}`,
  `-device virtio-blk-pci,drive=disk1,${BLK},bootindex=2,addr=0x5`,
  `-device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,${NIC},addr=0x10`,
  `-netdev user,id=user1 -device virtio-net-pci,netdev=net1,mac=52:54:00:12:34:57,${NIC},addr=0x11`,
  '-device isa-serial,chardev=console0',
  '-object rng-builtin,id=rng0 -device virtio-rng-pci,rng=rng0,ioeventfd=off,addr=0x3',
].join(' ');

test('a guard in the guest has a port of its own, and no other guest has', () => {
  const guard = { agent: true } as NonNullable<typeof VM.guard>;
  const golden = GOLDEN.replace(
    'isa-serial,chardev=console0',
    'isa-serial,chardev=console0 -device isa-serial,chardev=console1',
  );
  assert.is(qemuArgs({ ...VM, guard }, OPTIONS).join(' '), golden);
  assert.is(qemuArgs({ ...VM, guard: { ...guard, agent: false } }, OPTIONS).join(' '), GOLDEN);
});

test('of a recording', () => {
  assert.is(qemuArgs(VM, OPTIONS).join(' '), GOLDEN);
});

test('of a replay differs only in mode, images and back ends', () => {
  const args = qemuArgs(VM, {
    ...OPTIONS,
    mode: 'replay',
    net: 'none',
    diskImages: ['/tmp/0.raw', '/tmp/1.raw'],
  });
  const expected = GOLDEN.replace('mode=record', 'mode=replay')
    .replace('net0=tap:8,net1=user', 'net0=none,net1=none-user')
    .replace('-netdev user,id=user1 ', '')
    .replace('/vm/a,,b.raw', '/tmp/0.raw')
    .replace('/vm/c.raw', '/tmp/1.raw');
  assert.is(args.join(' '), expected);
});

test('of who waits beside an image: its memory is inherited, under the same name', () => {
  const args = qemuArgs(VM, { ...OPTIONS, mode: 'replay', image: true });
  const expected = GOLDEN.replace(
    'hpet=on',
    'hpet=on,memory-backend=pc.ram -object ' +
      'memory-backend-file,id=pc.ram,size=268435456,share=on,mem-path=/proc/self/fd/6',
  )
    .replace('mode=record', 'mode=replay')
    .replace('net1=user', 'net1=user,image=/proc/self/fd/7');
  assert.is(args.join(' '), expected);
});

test('of a VM whose vCPUs have threads of their own: nothing counts, no input is logged', () => {
  const vm = { ...VM, accel: 'tcg-multi', vcpus: 4 } as const;
  const expected = GOLDEN.replace(
    'thread=single,tb-size=64 -icount shift=1',
    'thread=multi,tb-size=64 -global PIIX4_PM.disable_s3=1 ' +
      '-global ICH9-LPC.disable_s3=1 -global apic.vapic=off',
  )
    .replace('-smp 1', '-smp 4')
    .replace('net1=user', 'net1=user,inputs=off');
  assert.is(qemuArgs(vm, OPTIONS).join(' '), expected);
});

test('checkpoints that recur, and on request only, also of a replay', () => {
  const exitlog = (options: Partial<QemuArgsOptions>): string => {
    const args = qemuArgs(VM, { ...OPTIONS, ...options });
    return args[args.indexOf('-exitlog') + 1] ?? '';
  };
  const recurring = { everyInstructions: 0, everyMs: 400, chainMax: 30 };
  assert.match(
    exitlog({ checkpoints: { dir: '/c,d', numbers: recurring } }),
    /,checkpoints=\/c,,d,checkpoint-icount=0,checkpoint-ms=400,checkpoint-chain=30$/,
  );
  const dir = '/c';
  assert.match(
    exitlog({
      mode: 'replay',
      checkpoints: { dir, numbers: { everyInstructions: 0, everyMs: 0 } },
    }),
    /^mode=replay,.*,checkpoints=\/c,checkpoint-icount=0,checkpoint-ms=0,checkpoint-chain=0$/,
  );
  const folders = { dir, askedDir: '/a,' };
  assert.match(
    exitlog({ mode: 'replay', checkpoints: { ...folders, numbers: recurring } }),
    /,checkpoints=\/c,.*,checkpoint-chain=30,checkpoints-asked=\/a,,$/,
  );
});

test('a configured -cpu replaces ours, and rng = false leaves the device out', () => {
  const vm = parseConfig(
    'name = "a"\nkernel = "k"\nrng = false\n[qemu]\nargs = ["-cpu", "qemu64"]',
    '/VM.toml',
  );
  const args = qemuArgs(vm, OPTIONS);
  assert.is(args.filter((word) => word === '-cpu').length, 1);
  assert.is(args[args.indexOf('-cpu') + 1], 'qemu64');
  assert.not.ok(args.some((word) => word.includes('rng')));
});

test('a VGA card has a slot of its own, and no display', () => {
  const vm = parseConfig('name = "a"\nkernel = "k"\nvga = true', '/VM.toml');
  const text = qemuArgs(vm, OPTIONS).join(' ');
  assert.match(text, /-device VGA,addr=0x2( |$)/);
  assert.match(text, '-display none');
});

test('other machines and devices', () => {
  const vm = parseConfig(
    `
name = "a"
machine = "q35"
vcpus = 4
kernel = "k"
[[disk]]
image = "a"
interface = "ahci"
[[disk]]
image = "b"
interface = "virtio-scsi"
[[disk]]
image = "c"
interface = "ahci"
[[nic]]
model = "e1000"
tap = "t"
`,
    '/VM.toml',
  );
  const text = qemuArgs(vm, OPTIONS).join(' ');
  const blocks = 'logical_block_size=512,physical_block_size=512';
  for (const expected of [
    '-machine q35,usb=off,vmport=off,hpet=on',
    '-smp 4',
    `-device ide-hd,bus=ide.0,discard_granularity=512,drive=disk0,${blocks},bootindex=1`,
    '-device virtio-scsi-pci,id=scsi,ioeventfd=off,addr=0xc',
    '-device scsi-hd,bus=scsi.0,scsi-id=0,discard_granularity=4096,max_unmap_size=134217728,' +
      `drive=disk1,${blocks},bootindex=2`,
    `-device ide-hd,bus=ide.1,discard_granularity=512,drive=disk2,${blocks},bootindex=3`,
    '-device e1000,netdev=net0,mac=52:54:00:12:34:56,romfile=,addr=0x10',
  ]) {
    assert.ok(text.includes(expected), `${expected} in ${text}`);
  }
});

test('IDE disks go two to a channel', () => {
  const disk = '[[disk]]\nimage = "a"\ninterface = "ide"\n';
  const vm = parseConfig(`name = "a"\n${disk.repeat(3)}`, '/VM.toml');
  const places = qemuArgs(vm, OPTIONS).flatMap(
    (word) => /^ide-hd,(bus=ide\.\d,unit=\d)/.exec(word)?.[1] ?? [],
  );
  assert.equal(places, ['bus=ide.0,unit=0', 'bus=ide.0,unit=1', 'bus=ide.1,unit=0']);
});

test("of who is confined: QEMU's own filter, and what it gives up before the guest runs", () => {
  const words = (user: { uid: number; gid: number } | null): string =>
    qemuArgs(VM, { ...OPTIONS, confinement: { user } }).join(' ');
  const filter = 'on,obsolete=deny,elevateprivileges=WHO,spawn=deny,resourcecontrol=deny';
  const monitor = '-monitor none';
  const nic = 'net1=user';
  assert.is(
    words(null),
    GOLDEN.replace(monitor, `${monitor} -sandbox ${filter.replace('WHO', 'deny')}`).replace(
      nic,
      `${nic},confine=on`,
    ),
  );
  assert.is(
    words({ uid: 990, gid: 991 }),
    GOLDEN.replace(monitor, `${monitor} -sandbox ${filter.replace('WHO', 'allow')}`).replace(
      nic,
      `${nic},confine=990:991`,
    ),
  );
});

test('taps have the descriptors of their order, and a replay has none', () => {
  const taps = '[[nic]]\ntap = "a"\n[[nic]]\nuser = true\n[[nic]]\ntap = "b"\n';
  const vm = parseConfig(`name = "a"\nkernel = "k"\n${taps}`, '/VM.toml');
  assert.match(qemuArgs(vm, OPTIONS).join(' '), 'net0=tap:8,net1=user,net2=tap:9');
  assert.equal(tapsOf(vm, 'configured'), ['a', 'b']);
  assert.equal(tapsOf(vm, 'none'), []);
});

test('the environment of a QEMU is empty, but for hooks and what is named', () => {
  const host = { HOME: '/root', PATH: '/bin', EXITLOG_KICKS: '200', LD_PRELOAD: 'x.so' };
  assert.equal(qemuEnvironment(host), { EXITLOG_KICKS: '200' });
  const named = { ...host, UNDERSTUDY_QEMU_ENV: 'LD_PRELOAD' };
  assert.equal(qemuEnvironment(named), { EXITLOG_KICKS: '200', LD_PRELOAD: 'x.so' });
});

test('the RTC base is UTC in whole seconds', () => {
  assert.is(rtcBaseNow(new Date('2026-11-21T07:00:00.999Z')), '2026-11-21T07:00:00');
});

test.run();
