// SPDX-License-Identifier: Apache-2.0
/**
 * Only what is known to replay exactly may run (docs/guests.md).
 *
 * A device, option or back end that is not on the list is refused at start, by
 * name and with the reason: never recorded and hoped for.
 */
import { UnderstudyError } from '../base/errors.ts';
import { DISK_INTERFACES, MACHINES, NIC_MODELS, VCPUS_MAX } from './config-schema.ts';

const RAW_BOTTOM_HALF = 'its bottom halves run off the vCPU thread and are not hooked';
const OTHER_THREAD = 'another thread would change guest memory';
const OPERATOR = 'operator actions must go through understudy, which logs them';

const OTHER_CARD = 'it was never tried; vga = true in VM.toml gives a standard VGA';

/** Models people try, and why they are not here yet. */
const DEVICE_REASONS: Readonly<Record<string, string>> = {
  e1000e: 'its transmit path and its interrupt moderation are not hooked',
  rtl8139: 'its transmit path is not hooked',
  'virtio-net-device': 'only the PCI transport is hooked',
  'virtio-blk-device': 'only the PCI transport is hooked',
  'virtio-serial-pci': RAW_BOTTOM_HALF,
  'virtio-gpu-pci': RAW_BOTTOM_HALF,
  'virtio-vga': RAW_BOTTOM_HALF,
  'qxl-vga': OTHER_THREAD,
  'cirrus-vga': OTHER_CARD,
  'vmware-svga': OTHER_CARD,
  'bochs-display': OTHER_CARD,
  ramfb: OTHER_CARD,
  'isa-vga': OTHER_CARD,
  'secondary-vga': OTHER_CARD,
  'virtio-balloon-pci': 'the host would decide when guest memory goes',
  nvme: 'its completions are not logged',
  'ide-cd': 'a CD can be changed and ejected by the host, and its commands were never tried',
  'scsi-cd': 'a CD can be changed and ejected by the host, and its commands were never tried',
  floppy: 'its completions are not logged',
  'usb-ehci': RAW_BOTTOM_HALF,
  'piix3-usb-uhci': RAW_BOTTOM_HALF,
  'qemu-xhci': RAW_BOTTOM_HALF,
  'vhost-vsock-pci': OTHER_THREAD,
  'vfio-pci': 'a real device changes guest memory whenever it likes',
  pvpanic: 'it was never tried',
};

const FORMAT_REASONS: Readonly<Record<string, string>> = {
  qcow2:
    'its metadata writes and allocation order differ between two sides; convert with ' +
    '`qemu-img convert -O raw`',
};

const OPTION_REASONS: Readonly<Record<string, string>> = {
  '-accel': 'use accel in VM.toml',
  '-enable-kvm': 'only TCG with instruction counting is exact',
  '-icount': 'understudy sets it',
  '-smp': 'use vcpus in VM.toml',
  '-m': 'use memory in VM.toml',
  '-drive': 'use [[disk]] in VM.toml',
  '-hda': 'use [[disk]] in VM.toml',
  '-blockdev': 'use [[disk]] in VM.toml',
  '-netdev': 'use [[nic]] in VM.toml',
  '-nic': 'use [[nic]] in VM.toml',
  '-net': 'use [[nic]] in VM.toml',
  '-kernel': 'use kernel in VM.toml',
  '-initrd': 'use initrd in VM.toml',
  '-append': 'use append in VM.toml',
  '-rtc': 'understudy sets it',
  '-machine': 'understudy sets it',
  '-M': 'understudy sets it',
  '-object': 'iothreads and host back ends change guest state off the vCPU thread',
  '-monitor': OPERATOR,
  '-qmp': OPERATOR,
  '-mon': OPERATOR,
  '-serial': 'the console is isa-serial, and understudy owns it',
  '-chardev': 'the console is isa-serial, and understudy owns it',
  '-gdb': OPERATOR,
  '-s': OPERATOR,
  '-S': OPERATOR,
  '-snapshot': 'the two sides keep the same disk; work on a copy instead',
  '-vga': 'use vga in VM.toml',
  '-vnc': 'input events from a display are not logged',
  '-display': 'input events from a display are not logged',
  '-usb': RAW_BOTTOM_HALF,
  '-usbdevice': RAW_BOTTOM_HALF,
  '-loadvm': 'checkpoints are not supported yet',
  '-incoming': 'checkpoints are not supported yet',
  '-daemonize': 'the daemon must own its QEMU',
  '-virtfs': 'the host file system is an input that is not logged',
  '-fsdev': 'the host file system is an input that is not logged',
  '-no-reboot': 'a reset is part of the log',
};

/** Options of which the value is checked by a pattern, because they are exact. */
const ALLOWED: Readonly<Record<string, RegExp>> = {
  // Every named model is a fixed list of features under TCG; HOST_CPU is refused before.
  '-cpu': /^[A-Za-z0-9_.-]+(,[+-]?[A-Za-z0-9_.-]+(=(on|off|[A-Za-z0-9_.-]+))?)*$/,
  '-uuid': /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/,
  '-smbios': /^type=\d+(,(?!file=|path=)[a-z_-]+=[^,=]*)+$/,
};

/** `host` needs KVM; host-cache-info and others show the host's CPUID to the guest under TCG, too. */
const HOST_CPU = /(^|[,+])host(\b|_)/;

/** The only devices: models named in VM.toml or implied by it. */
export const EXACT_DEVICES = [
  'virtio-net-pci',
  'virtio-blk-pci',
  'e1000',
  'ide-hd',
  'ich9-ahci',
  'virtio-scsi-pci',
  'scsi-hd',
  'isa-serial',
  'virtio-rng-pci',
  'VGA',
] as const;

function refuse(file: string, what: string, reason: string): UnderstudyError {
  return new UnderstudyError('not-exact', `${file}: ${what} is refused: not yet exact: ${reason}`, {
    details: { file, what, reason },
  });
}

function deviceReason(model: string): string {
  return (
    DEVICE_REASONS[model] ?? `it is not on the list of exact devices (${EXACT_DEVICES.join(', ')})`
  );
}

/**
 * Refuses what a parsed VM.toml asks for by name and is not known to be exact.
 * Leaves everything else about the document to the schema.
 * @throws UnderstudyError not-exact
 */
export function checkWhitelist(document: unknown, file: string): void {
  if (!isTable(document)) return;
  const { machine, vcpus, nic, disk } = document;
  if (typeof machine === 'string' && !isOneOf(MACHINES, machine)) {
    throw refuse(file, `machine "${machine}"`, `only ${MACHINES.join(' and ')} are`);
  }
  if (typeof vcpus === 'number' && Number.isInteger(vcpus) && vcpus > VCPUS_MAX) {
    throw refuse(file, `vcpus = ${vcpus}`, `guests were tried with up to ${VCPUS_MAX}`);
  }
  for (const item of Array.isArray(nic) ? nic : []) {
    if (!isTable(item) || typeof item.model !== 'string') continue;
    if (!isOneOf(NIC_MODELS, item.model)) {
      throw refuse(file, `nic model "${item.model}"`, deviceReason(item.model));
    }
  }
  for (const item of Array.isArray(disk) ? disk : []) {
    if (!isTable(item)) continue;
    if (typeof item.interface === 'string' && !isOneOf(DISK_INTERFACES, item.interface)) {
      throw refuse(file, `disk interface "${item.interface}"`, deviceReason(item.interface));
    }
    if (typeof item.format !== 'string' || item.format === 'raw') continue;
    const reason = FORMAT_REASONS[item.format] ?? 'only raw images are';
    throw refuse(file, `disk format "${item.format}"`, reason);
  }
}

/**
 * Refuses an entry of `[qemu] args` that is not known to be exact.
 * @throws UnderstudyError not-exact | config-value
 */
export function checkQemuArgs(args: readonly string[], file: string): void {
  for (let i = 0; i < args.length; i += 1) {
    const given = args[i] ?? '';
    const option = given.replace(/^--/, '-');
    const value = args[i + 1];
    if (!option.startsWith('-')) {
      throw refuse(file, `[qemu] argument "${given}"`, 'it belongs to no option that is allowed');
    }
    if (option === '-device') {
      const model = (value ?? '').split(',')[0] ?? '';
      throw refuse(
        file,
        `[qemu] device "${model}"`,
        (EXACT_DEVICES as readonly string[]).includes(model)
          ? 'devices are placed by understudy; use [[nic]], [[disk]], rng or vga in VM.toml'
          : deviceReason(model),
      );
    }
    const pattern = ALLOWED[option];
    if (pattern === undefined) {
      const known = Object.keys(ALLOWED).join(', ');
      const reason = OPTION_REASONS[option] ?? `only these options are known to be: ${known}`;
      throw refuse(file, `[qemu] option "${given}"`, reason);
    }
    if (value === undefined) {
      throw new UnderstudyError('config-value', `${file}: [qemu] option "${given}" needs a value`);
    }
    if (option === '-cpu' && HOST_CPU.test(value)) {
      throw refuse(file, `[qemu] ${given} "${value}"`, "the guest would see this host's CPU");
    }
    if (!pattern.test(value)) {
      throw refuse(file, `[qemu] ${given} "${value}"`, 'this value is not known to be');
    }
    i += 1;
  }
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
